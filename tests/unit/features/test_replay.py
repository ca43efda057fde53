"""Law 10: a training set is made again from its record, to the same hash, whatever was written since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.features.fingerprint import fingerprint
from millrace.features.port import AsOfJoin
from millrace.features.saved_sets import load_training_set, save_training_set
from millrace.features.tables import create_feature_table, delete_feature_rows, write_feature_rows
from millrace.features.training_set import TrainingSet, build_training_set
from millrace.features.types import FeatureLookup, TrainingRecord
from millrace.lake.lake import Lake

NAME = "ml.features.t"
STAMP = pa.timestamp("us", "UTC")
START = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LOOKUP = FeatureLookup(NAME, "k", timestamp_lookup_key="t")


def feature_rows(keys: int, day: int, value: float) -> pa.Table:
    times = pa.array([START + day * DAY] * keys, STAMP)
    return pa.table({"k": list(range(keys)), "ts": times, "v": [value + key for key in range(keys)]})


def requests() -> pa.Table:
    return pa.table(
        {
            "k": [key % 7 for key in range(40)],
            "t": pa.array([START + key % 9 * DAY for key in range(40)], STAMP),
            "y": [key % 2 for key in range(40)],
        }
    )


def made_again(lake: Lake, join: AsOfJoin, rows: pa.Table, record: TrainingRecord) -> TrainingSet:
    versions = {table.name: int(table.version) for table in record.tables}
    return build_training_set(lake, join, rows, [LOOKUP], "y", as_of=record.as_of, versions=versions)


@pytest.mark.parametrize("partitions", [(), ("k",)])
def test_law_10_a_record_makes_the_same_rows_again(
    lake: Lake, join: AsOfJoin, clock: ManualClock, partitions: tuple[str, ...]
) -> None:
    create_feature_table(
        lake,
        NAME,
        feature_rows(5, 0, 0).schema,
        primary_keys="k",
        timeseries_column="ts",
        partition_columns=partitions,
        rows=feature_rows(5, 0, 0),
    )
    write_feature_rows(lake, NAME, feature_rows(5, 4, 100))
    clock.set(START + 20 * DAY)
    made = build_training_set(lake, join, requests(), [LOOKUP], "y", as_of=clock.now())
    save_training_set(lake, made, "ml.training.t")

    clock.advance(DAY)
    write_feature_rows(lake, NAME, feature_rows(5, 0, 7000).append_column("new", pa.array([1.5] * 5)))
    for number in range(40):  # enough small commits that the files are made into one
        write_feature_rows(lake, NAME, feature_rows(1, 5 + number, number))
    delete_feature_rows(lake, NAME, pa.table({"k": [1, 2, 3]}))
    if not partitions:
        assert "compact" in [info.why for info in lake.history(NAME)]

    now = build_training_set(lake, join, requests(), [LOOKUP], "y", as_of=clock.now())
    assert now.record.fingerprint != made.record.fingerprint
    again = made_again(lake, join, requests(), made.record)
    assert again.record == made.record
    kept = load_training_set(lake, "ml.training.t")
    assert fingerprint(kept.table) == again.record.fingerprint
    from_kept = made_again(lake, join, kept.table.select(["k", "t", "y"]), kept.record)
    assert from_kept.record == made.record
