from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millrace as mr
from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.pipeline.declare import FeatureTable
from millrace.pipeline.snapshots import pin_sources, round_floats
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import NOW, Fill
from tests.unit.pipeline.shop import (
    DAY,
    PURCHASES,
    SOURCE,
    START,
    WEEK,
    features,
    features_at,
    labels,
    labels_at,
    purchases,
)

US = timedelta(microseconds=1)
ROWS = [
    (2, START - DAY, 2.5),
    (1, START, 1.5),
    (1, START + US, 10.0),
    (2, START + 2 * WEEK, 20.0),
    (3, START + 2 * WEEK + US, 1.0),
]


def made_by(compute: Any) -> FeatureTable:
    return mr.feature_table("ml.features.other", keys=["customer_id"], every=WEEK)(compute)


@pytest.mark.parametrize("time", [START - WEEK, START - DAY, START, START + US, START + 3 * WEEK])
def test_a_snapshot_sees_rows_up_to_its_time(workspace: Workspace, fill: Fill, time: datetime) -> None:
    fill(PURCHASES, purchases(ROWS))
    assert mr.preview(workspace, features, time).to_pylist() == features_at(ROWS, time)


def test_a_label_sees_rows_up_to_its_horizon(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    assert labels_at(ROWS, START) == [
        {"customer_id": 1, "label_time": START, "came_back": 1},
        {"customer_id": 2, "label_time": START, "came_back": 1},
    ]
    for time in (START, START - US, START + US):
        assert mr.preview(workspace, labels, time).to_pylist() == labels_at(ROWS, time)


def test_the_time_of_a_snapshot_is_what_current_date_says_and_tables_can_be_named(
    workspace: Workspace, fill: Fill
) -> None:
    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

        del as_of
        return tx.sparkSession.table(PURCHASES).select("customer_id", F.current_date().alias("today")).distinct()

    fill(PURCHASES, purchases(ROWS))
    assert mr.preview(workspace, made_by(compute), START).to_pylist() == [
        {"customer_id": one, "feature_time": START, "today": START.date()} for one in (1, 2)
    ]


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda _, tx=SOURCE: tx.select("no_such_column"), "failed at 2025-03-03 00:00: "),
        (
            lambda _, _tx=SOURCE: 1 / 0,
            "failed at 2025-03-03 00:00: ZeroDivisionError: division by zero (test_snapshots.py, line 83)",
        ),
        (lambda _, _tx=SOURCE: None, "returned NoneType"),
        (lambda _, tx=SOURCE: tx.toArrow().to_pylist(), "returned list"),
        (lambda _, tx=SOURCE: tx.toArrow().to_pandas()["amount"], "returned pandas.Series"),
        (lambda _, tx=SOURCE: tx.select("amount"), "returned no column 'customer_id'"),
        (lambda _, tx=SOURCE: tx.select("customer_id", "amount", "amount"), "returned two columns 'amount'"),
        (
            lambda _, tx=SOURCE: tx.selectExpr("customer_id", "at as feature_time"),
            "returned 'feature_time', which millrace adds",
        ),
    ],
)
def test_what_a_function_does_wrong_is_said(workspace: Workspace, fill: Fill, compute: Any, message: str) -> None:
    fill(PURCHASES, purchases(ROWS))
    with pytest.raises(InvalidInput) as refused:
        mr.preview(workspace, made_by(compute), START)
    assert f"the function of ml.features.other {message}" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    "turn",
    [
        lambda frame: frame.toArrow(),
        lambda frame: frame.toArrow().to_reader(),
        lambda frame: frame.toArrow().to_pandas(),
        lambda frame: __import__("polars").from_arrow(frame.toArrow()),
        lambda frame: __import__("polars").from_arrow(frame.toArrow()).lazy(),
    ],
    ids=["arrow", "reader", "pandas", "polars", "lazy"],
)
def test_a_function_may_return_a_frame_of_any_library(workspace: Workspace, fill: Fill, turn: Any) -> None:
    fill(PURCHASES, purchases(ROWS))

    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        del as_of
        return turn(tx.select("customer_id", "amount"))

    assert mr.preview(workspace, made_by(compute), START).to_pylist() == [
        {"customer_id": 1, "feature_time": START, "amount": 1.5},
        {"customer_id": 2, "feature_time": START, "amount": 2.5},
    ]


def test_a_missing_source_is_not_found_and_the_nearest_is_named(workspace: Workspace, fill: Fill) -> None:
    fill("bronze.purchase", purchases(ROWS))
    with pytest.raises(NotFound) as refused:
        mr.preview(workspace, features, START)
    assert "bronze.purchase" in refused.value.hint


def test_sources_are_pinned_as_of_a_time_or_at_a_version(workspace: Workspace, fill: Fill) -> None:
    for day in range(3):
        workspace.clock.set(NOW + day * DAY)
        fill(PURCHASES, purchases(ROWS[day : day + 1]))
    newest = int(workspace.lake.pin(PURCHASES).version)

    def version(as_of: datetime | None, asked: int | None = None) -> int:
        asked_for = {} if asked is None else {TableName.parse(PURCHASES): asked}
        return int(pin_sources(workspace, features, as_of, asked_for)["tx"].version)

    assert version(None) == newest
    assert version(NOW + DAY) == newest - 1
    assert version(NOW + 2 * DAY - US) == newest - 1
    assert version(NOW + DAY, asked=1) == 1
    # Loaded after the time: read at its newest, and cut by event times alone.
    assert version(START) == newest
    with pytest.raises(NotFound, match=r"has no version 99"):
        version(None, asked=99)


FLOATS = st.floats(allow_nan=True, allow_infinity=True) | st.none()


@given(st.lists(FLOATS, max_size=30))
@settings(max_examples=150, deadline=None)
def test_floats_are_kept_to_twelve_digits(values: list[float | None]) -> None:
    table = pa.table({"x": pa.array(values, pa.float64()), "n": pa.array([1] * len(values), pa.int64())})
    found = round_floats(table)
    assert found.schema == table.schema
    for before, after in zip(values, found.column("x").to_pylist(), strict=True):
        if before is None or math.isnan(before) or math.isinf(before):
            assert repr(after) == repr(before)
        else:
            assert after == float(f"{before:.11e}")


def test_only_doubles_are_rounded() -> None:
    table = pa.table(
        {
            "money": pa.array([Decimal("1234567890123456.78")]),
            "small": pa.array([0.1], pa.float32()),
            "at": pa.array([datetime(2025, 1, 1, tzinfo=UTC)]),
            "text": ["0.30000000000000004"],
            "sum": [0.1 + 0.2],
        }
    )
    found = round_floats(table)
    assert found.drop_columns(["sum"]).equals(table.drop_columns(["sum"]))
    assert found.column("sum").to_pylist() == [0.3]


def test_values_that_differ_in_their_last_bits_become_one() -> None:
    parts = [0.1, 0.7, 1e9, 3.3, -1e9]
    sums = [sum(parts), sum(reversed(parts)), math.fsum(parts)]
    assert len(set(sums)) > 1
    rounded = round_floats(pa.table({"x": [sum([0.1] * 10), 1.0]})).column("x").to_pylist()
    assert rounded == [1.0, 1.0]
