"""A feature table that several commands are tried on."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

NOW = datetime(2025, 3, 10, tzinfo=UTC)
NAME = "ml.features.spend"


def rows(*of: tuple[str, int, float]) -> pa.Table:
    """Rows of (region, day of March 2025, spend)."""
    keys, days, values = zip(*of, strict=True)
    times = pa.array([datetime(2025, 3, day, tzinfo=UTC) for day in days], pa.timestamp("us", "UTC"))
    return pa.table({"region": pa.array(keys), "ts": times, "spend": pa.array(values)})
