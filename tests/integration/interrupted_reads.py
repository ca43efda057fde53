"""Reads again and again until Ctrl-C comes, at any moment of a read, many times; prints what was raised each time.

python interrupted_reads.py FOLDER READ TIMES, READ being one of `READS`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from millrace.core.clock import ManualClock
from millrace.core.principal import system
from millrace.database.engine import open_database
from millrace.features.adapters.arrow_asof import ArrowAsOfJoin
from millrace.features.adapters.duckdb_asof import DuckDbAsOfJoin
from millrace.features.adapters.duckdb_windows import DuckDbWindows
from millrace.features.types import FeatureSource, ResolvedLookup
from millrace.features.windows import Sum, Ticks, resolve_features
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.duckdb_sql import DuckDbSql
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.monitoring.sql import open_sql

T0, HOUR = datetime(2025, 3, 3, tzinfo=UTC), timedelta(hours=1)
STAMP = pa.timestamp("us", "UTC")
ROWS = pa.table(
    {
        "k": pa.array([n % 3 for n in range(600)]),
        "ts": pa.array([T0 + n * HOUR for n in range(600)], STAMP),
        "x": pa.array([float(n) for n in range(600)]),
    }
)
ASKED = pa.table({"k": [0, 1, 2], "t": pa.array([T0 + 300 * HOUR] * 3, STAMP)})


def lake_in(folder: Path) -> Lake:
    catalog = SqlCatalog(open_database(f"sqlite:///{folder}/catalog.db"))
    lake = Lake(catalog, DeltaTableStore(), ManualClock(T0), system("test"), str(folder / "warehouse"))
    lake.ensure("events", ROWS.schema)
    lake.append("events", ROWS)
    return lake


def source_in(lake: Lake) -> FeatureSource:
    entry, pinned = lake.entry("events"), lake.pin("events")
    files = lake.store.files(entry.location)
    return FeatureSource(pinned, entry.location, files, ROWS.schema, ("k",), "ts", timedelta(0), "end")


def windows(lake: Lake) -> Callable[[], object]:
    resolved = resolve_features(source_in(lake), [("total", Sum("x", days=3))])
    return lambda: DuckDbWindows(2).compute(resolved, Ticks(T0 + 300 * HOUR, HOUR, 2))


def lookup(lake: Lake) -> ResolvedLookup:
    return ResolvedLookup(source_in(lake), ("k",), {"x": "x"}, "t", None, {})


def duckdb_lookup(lake: Lake) -> Callable[[], object]:
    resolved = lookup(lake)
    return lambda: DuckDbAsOfJoin(2).lookup(ASKED, resolved, T0 + 900 * HOUR)


def arrow_lookup(lake: Lake) -> Callable[[], object]:
    resolved = lookup(lake)
    return lambda: ArrowAsOfJoin(2).lookup(ASKED, resolved, T0 + 900 * HOUR)


def lake_sql(lake: Lake) -> Callable[[], object]:
    return lambda: DuckDbSql(lake, 2).read("SELECT k, sum(x) FROM events GROUP BY k", T0)


def monitor_sql(_: Lake) -> Callable[[], object]:
    def read() -> object:
        with open_sql() as connection:
            connection.register("rows", ROWS)
            return connection.sql("SELECT k, sum(x) FROM rows GROUP BY k").to_arrow_table()

    return read


def lake_rows(lake: Lake) -> Callable[[], object]:
    return lambda: lake.read("events")


READS = {read.__name__: read for read in (windows, duckdb_lookup, arrow_lookup, lake_sql, monitor_sql, lake_rows)}


def interrupted(read: Callable[[], object], after_s: float) -> str:
    """What was raised for one Ctrl-C; for the next where it came while Python can't raise, as when a weak reference ends."""
    lost = threading.Event()

    def unraisable(told: sys.UnraisableHookArgs) -> None:
        lost.set() if told.exc_type is KeyboardInterrupt else sys.__unraisablehook__(told)

    sys.unraisablehook = unraisable
    press = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT))
    try:
        press.start()
        while not lost.is_set():
            read()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        press.join()
        return f"{type(error).__name__} {error}".strip()
    return interrupted(read, after_s)


def main(folder: str, name: str, times: str) -> None:
    read = READS[name](lake_in(Path(folder)))
    read()
    moments = np.random.default_rng().uniform(0, 0.04, int(times))
    sys.stdout.write(json.dumps(Counter(interrupted(read, after_s) for after_s in moments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
