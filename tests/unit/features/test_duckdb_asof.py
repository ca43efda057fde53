"""The as-of join on DuckDB, where the conformance suite does not reach: folders as other writers name them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import InvalidState
from millrace.core.names import TableName
from millrace.features.adapters.duckdb_asof import DuckDbAsOfJoin
from millrace.features.types import FeatureSource, ResolvedLookup
from millrace.lake.types import Location, TableVersion, Version

STAMP = pa.timestamp("us", "UTC")
AT = datetime(2024, 1, 1, tzinfo=UTC)


def answers(folder: Path, below: str, column: str) -> list[object]:
    """What a lookup of key 1 finds in a table of one file, whose folder says the column's value."""
    (folder / below).mkdir(parents=True)
    pq.write_table(pa.table({"k": [1], "ts": pa.array([AT], STAMP), "v": [7]}), folder / below / "1.parquet")
    source = FeatureSource(
        table=TableVersion(TableName.parse("f.t"), Version(0)),
        location=Location(str(folder)),
        files=[str(folder / below / "1.parquet")],
        schema=pa.schema([("k", pa.int64()), ("ts", STAMP), ("v", pa.int64()), (column, pa.int32())]),
        primary_keys=("k",),
        timeseries_column="ts",
        available_after=timedelta(0),
        date_stands_for="end",
    )
    lookup = ResolvedLookup(source, ("k",), {"v": "v", column: column}, "t", None, {})
    asked = pa.table({"k": [1], "t": pa.array([AT], STAMP)})
    return [*DuckDbAsOfJoin(1).lookup(asked, lookup, AT).to_pylist()[0].values()]


def test_a_folder_whose_name_is_escaped_says_its_column(tmp_path: Path) -> None:
    assert answers(tmp_path, "a%22b=5", 'a"b') == [7, 5]


def test_a_folder_above_the_table_says_nothing(tmp_path: Path) -> None:
    assert answers(tmp_path / "v=9" / "table", "", "other") == [7, None]
    with pytest.raises(InvalidState, match=r"takes a folder above f\.t@0 for its column 'v'"):
        answers(tmp_path / "v=8" / "table", "p=1", "p")
