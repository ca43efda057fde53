"""Customers with a history, and requests about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from millrace.feature_engineering import FeatureEngineeringClient, FeatureLookup, TrainingSet

if TYPE_CHECKING:
    import pandas as pd

NOW = datetime(2025, 6, 2, tzinfo=UTC)
DAY = timedelta(days=1)
T = NOW - 30 * DAY
STAMP = pa.timestamp("us", "UTC")


def history(customers: int = 12) -> pa.Table:
    """Three rows a customer, at T, T + 10 and T + 20 days, the spend telling which."""
    rows = [
        {
            "customer_id": customer,
            "ts": T + 10 * n * DAY,
            "spend": Decimal(f"{100 * customer + n}.25"),
            "ratio": (customer * 7 + n) % 5 / 4 if customer % 4 else None,
            "visits": customer + n,
        }
        for customer in range(customers)
        for n in range(3)
    ]
    fields = {
        "customer_id": pa.int64(),
        "ts": STAMP,
        "spend": pa.decimal128(18, 2),
        "ratio": pa.float64(),
        "visits": pa.int32(),
    }
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def wide(count: int) -> pd.DataFrame:
    """Labels in no order of key or time."""
    import pandas as pd

    random = np.random.default_rng(3)
    who = random.integers(0, 12, count)
    when = pd.to_datetime([T + int(day) * DAY for day in random.integers(0, 30, count)])
    return pd.DataFrame({"customer_id": who, "at": when, "label": (who + random.integers(0, 2, count)) % 2})


def spend_then(customer: int, at: datetime) -> Decimal:
    """What `history` says of a customer at a time from T on."""
    return Decimal(f"{100 * customer + min((at - T) // (10 * DAY), 2)}.25")


def lookup(table: str, **more: Any) -> FeatureLookup:
    return FeatureLookup(table, "customer_id", timestamp_lookup_key="at", **more)


def training_set(client: FeatureEngineeringClient, table: str, df: object, **more: Any) -> TrainingSet:
    return client.create_training_set(df=df, feature_lookups=[lookup(table)], label="label", **more)
