"""Logs of a small model, for tests of monitors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from millrace.core.clock import ManualClock
from millrace.core.principal import system
from millrace.database.engine import open_database
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec

START = datetime(2025, 3, 1, tzinfo=UTC)
SPEC = MonitorSpec("logs.predictions", "metrics")


def log_of(
    days: Sequence[int], *, rows: int = 40, shift: float = 0.0, version: str = "1", labels: bool = True, seed: int = 0
) -> pa.Table:
    """Rows of some days, ten minutes apart, the same each time."""
    parts = []
    for day in days:
        rng = np.random.default_rng((day + 100_000, int(version), seed))
        spend = rng.normal(shift, 1, rows)
        probability = 1 / (1 + np.exp(-spend))
        truth = (rng.random(rows) < probability).astype(np.int64)
        times = [START + timedelta(days=day, minutes=10 * int(at)) for at in range(rows)]
        parts.append(
            pa.table(
                {
                    "id": pa.array([f"{version}-{day}-{seed}-{at}" for at in range(rows)]),
                    "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
                    "model_version": [version] * rows,
                    "spend": spend,
                    "region": rng.choice(["north", "south"], rows),
                    "prediction": (probability > 0.5).astype(np.float64),
                    "probability": probability,
                    "actual_label": pa.array(truth if labels else [None] * rows, pa.int64()),
                }
            )
        )
    return pa.concat_tables(parts)


def reference_of(rows: pa.Table) -> ReferenceProfile:
    """A reference with answers."""
    return ReferenceProfile.build(
        rows, rows["probability"], rows["actual_label"], ["spend", "region"], predictions=rows["prediction"]
    )


def make_lake(root: Path, spec: MonitorSpec = SPEC) -> Lake:
    """A lake with an empty log."""
    catalog = SqlCatalog(open_database("sqlite://"))
    lake = Lake(catalog, DeltaTableStore(), ManualClock(START), system("test"), str(root))
    lake.create(spec.table, log_of([0]).schema)
    return lake
