from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.errors import AlreadyExists, InvalidInput, LawBroken
from millrace.core.names import TableName
from millrace.features.fingerprint import fingerprint
from millrace.features.saved_sets import load_training_set, read_record, save_training_set
from millrace.features.spec import to_json
from millrace.features.splits import split_by_group
from millrace.features.training_set import TrainingSet
from millrace.features.types import FeatureLookup, FeatureSpec, TrainingRecord
from millrace.lake.lake import Lake
from millrace.lake.types import TableVersion, Version

NAME = "ml.training.churn"
T = datetime(2025, 3, 1, 10, tzinfo=UTC)
LOOKUP = FeatureLookup("ml.features.t", ("k",), timestamp_lookup_key="t")


def built(table: pa.Table) -> TrainingSet:
    spec = FeatureSpec((LOOKUP,), "y", ("t",), ("k",), ("k",))
    record = TrainingRecord(
        tables=(TableVersion(TableName.parse("ml.features.t"), Version(3)),),
        as_of=T.replace(microsecond=7),
        rows=len(table),
        fingerprint=fingerprint(table),
        spec=to_json(spec),
        warnings=("a doubt",),
        code={"ml.functions.f": "ab12"},
    )
    return TrainingSet(table, record, spec)


EVERY_TYPE = pa.table(
    {
        "k": pa.array([3, 1, 1, None], pa.int32()),
        "t": pa.array([T, T, None, T], pa.timestamp("us", "Europe/Berlin")),
        "naive": pa.array([T.replace(tzinfo=None)] * 4, pa.timestamp("ms")),
        "y": pa.array([1, 0, 1, 0], pa.uint8()),
        "f": pa.array([0.1, float("nan"), None, -0.0], pa.float32()),
        "text": pa.array(["a", "", None, "ü" * 300], pa.large_string()),
        "category": pa.array(["x", "x", None, "y"]).dictionary_encode(),
        "nothing": pa.nulls(4),
        "money": pa.array([Decimal("1.50"), None, Decimal("-2.00"), Decimal(0)], pa.decimal128(12, 2)),
        "day": pa.array([date(1969, 12, 31), None, date(2025, 1, 1), date(2025, 1, 1)]),
        "flag": pa.array([True, None, False, True]),
        "list": pa.array([[1, 2], [], None, [None]], pa.list_(pa.int64())),
    }
)


def test_what_is_loaded_is_what_was_saved(lake: Lake) -> None:
    saved = built(EVERY_TYPE)
    assert save_training_set(lake, saved, NAME, description="March") == lake.pin(NAME)
    found = load_training_set(lake, NAME)
    assert found.table.schema == saved.table.schema
    assert fingerprint(found.table) == saved.record.fingerprint
    assert (found.record, found.spec) == (saved.record, saved.spec)
    entry = lake.entry(NAME)
    assert (entry.definition.role, entry.definition.description) == ("training_set", "March")
    assert lake.pin(NAME).version == 0


def test_the_order_is_kept_over_many_files_and_upkeep(lake: Lake) -> None:
    rows = np.random.default_rng(1).permutation(5000)
    saved = built(pa.table({"k": rows, "t": pa.array([T] * 5000, pa.timestamp("us", "UTC")), "y": rows % 2}))
    save_training_set(lake, saved, NAME)
    # Somebody adds rows by other means: what was saved is version 0.
    lake.append(NAME, lake.read(NAME).slice(0, 10))
    assert load_training_set(lake, NAME).table.column("k").to_pylist() == rows.tolist()


@pytest.mark.parametrize("rows", [0, 1])
def test_small_ones(lake: Lake, rows: int) -> None:
    saved = built(EVERY_TYPE.slice(0, rows))
    save_training_set(lake, saved, NAME)
    found = load_training_set(lake, NAME).table
    assert (found.schema, found.to_pylist()) == (saved.table.schema, saved.table.to_pylist())


def test_a_part_keeps_how_it_was_split(lake: Lake) -> None:
    whole = built(pa.table({"k": list(range(50)), "t": pa.array([T] * 50), "y": [0, 1] * 25}))
    _, test = split_by_group(whole, group="k")
    save_training_set(lake, test, NAME)
    assert load_training_set(lake, NAME).record == test.record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.append_column("Row_Number", pa.array([1] * 4)), "has a column 'row_number'"),
        (lambda table: table.append_column("T", pa.array([1] * 4)), "more than one column 't'"),
        (lambda table: table.append_column("d", pa.array([1] * 4, pa.duration("s"))), "'d' is duration"),
    ],
)
def test_what_a_table_can_not_hold_is_refused(lake: Lake, change: Callable[[pa.Table], pa.Table], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        save_training_set(lake, built(change(EVERY_TYPE)), NAME)
    assert not lake.exists(NAME)


def test_other_tables_and_changed_rows_are_refused(lake: Lake) -> None:
    saved = built(EVERY_TYPE)
    save_training_set(lake, saved, NAME)
    with pytest.raises(AlreadyExists):
        save_training_set(lake, saved, NAME)
    save_training_set(lake, replace(saved, table=EVERY_TYPE.slice(1)), "ml.training.wrong")
    with pytest.raises(LawBroken, match="not those that were saved"):
        load_training_set(lake, "ml.training.wrong")
    lake.create("bronze.t", EVERY_TYPE.schema.remove(7))
    with pytest.raises(InvalidInput, match=r"bronze\.t is no saved training set"):
        load_training_set(lake, "bronze.t")
    for wrong in ("null", "{}", '{"tables": []}'):
        with pytest.raises(InvalidInput, match="not a training record"):
            read_record(json.loads(wrong))
