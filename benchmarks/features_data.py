"""The data of the feature benchmark: labels and two wide daily feature tables, seeded, as Delta tables in homes under .bench/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20_240_101
CUSTOMERS = 100_000
FEATURES = 20
LABELS = 1_000_000
TABLES = ("ml.bench.daily", "ml.bench.nightly")
START = datetime(2024, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
_STAMP = pa.timestamp("us", "UTC")
_OFFSET_US = (0, 6 * 3_600_000_000)  # the second table's rows come six hours later in the day
_PREFIXES = ("a", "b")
_CHUNK_DAYS = 10  # one commit: 1M rows


@dataclass(frozen=True)
class Data:
    """Where one size of the data is, and which files each table has.

    Attributes:
        rows: rows of each feature table.
        home: the home with the tables.
        labels: Parquet file with `customer_id` int64, `label_time` timestamp[us, UTC], `churned` int8.
        files: per feature table its Parquet files.
    """

    rows: int
    home: str
    labels: str
    files: tuple[tuple[str, ...], ...]

    @property
    def days(self) -> int:
        """How many days of rows each table has."""
        return self.rows // CUSTOMERS


def columns(table: int) -> list[str]:
    """Names of a table's features."""
    return [f"{_PREFIXES[table]}{number}" for number in range(FEATURES)]


def data(folder: Path, rows: int) -> Data:
    """The data with `rows` rows in each feature table; made where it is not there yet.

    Every customer has one row a day in each table; labels fall anywhere in these days, so that some come before the
    first row of their customer.
    """
    place = folder / f"data-{rows // 1_000_000}m"
    known = place / "data.json"
    if not known.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        made = _make(place, rows)
        known.write_text(json.dumps(asdict(made)))
    found = json.loads(known.read_text())
    return Data(found["rows"], found["home"], found["labels"], tuple(tuple(files) for files in found["files"]))


def _make(place: Path, rows: int) -> Data:
    from millrace.features.tables import create_feature_table
    from millrace.workspace import open_workspace

    days = rows // CUSTOMERS
    labels = place / "labels.parquet"
    pq.write_table(_labels(days), labels)
    with closing(open_workspace(place / "home")) as workspace:
        lake = workspace.lake
        files = []
        for number, name in enumerate(TABLES):
            schema = _schema(number)
            create_feature_table(
                lake, name, schema, primary_keys="customer_id", timeseries_column="event_time", description="benchmark"
            )
            for chunk in _chunks(number, days):
                lake.append(name, chunk, "benchmark")
            pinned = lake.pin(lake.entry(name).name)
            files.append(tuple(lake.store.files(lake.entry(name).location, pinned.version)))
    return Data(rows, str(place / "home"), str(labels), tuple(files))


def _labels(days: int) -> pa.Table:
    random = np.random.default_rng(SEED)
    start = int(START.timestamp()) * 1_000_000
    return pa.table(
        {
            "customer_id": pa.array(random.integers(0, CUSTOMERS, LABELS), pa.int64()),
            "label_time": pa.array(start + random.integers(0, days * DAY_US, LABELS), pa.int64()).cast(_STAMP),
            "churned": pa.array(random.integers(0, 2, LABELS), pa.int8()),
        }
    )


def _schema(table: int) -> pa.Schema:
    features = [pa.field(name, pa.float32()) for name in columns(table)]
    return pa.schema([pa.field("customer_id", pa.int64()), pa.field("event_time", _STAMP), *features])


def _chunks(table: int, days: int) -> Iterator[pa.Table]:
    """Ten days at a time; within a day the customers come in no order, as they do from an engine."""
    random = np.random.default_rng(SEED + 1 + table)
    for first in range(0, days, _CHUNK_DAYS):
        many = min(_CHUNK_DAYS, days - first)
        keys = np.concatenate([random.permutation(CUSTOMERS) for _ in range(many)])
        times = START + timedelta(days=first)
        at = int(times.timestamp()) * 1_000_000 + _OFFSET_US[table] + np.repeat(np.arange(many) * DAY_US, CUSTOMERS)
        features = [pa.array(random.random(len(keys), dtype=np.float32)) for _ in range(FEATURES)]
        yield pa.table([pa.array(keys), pa.array(at).cast(_STAMP), *features], schema=_schema(table))
