from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput
from millrace.pipeline.declare import Label
from millrace.pipeline.labels import read_known
from millrace.workspace import Workspace

T = datetime(2025, 3, 3, tzinfo=UTC)
US, DAY = timedelta(microseconds=1), timedelta(days=1)


def known(workspace: Workspace, labels: Any, times: Any, as_of: datetime = T, known_after: timedelta = DAY) -> pa.Table:
    rows = pa.table({"id": list(range(len(labels))), "at": times, "churned": labels, "other": labels})
    workspace.lake.ensure("ml.labels.churn", rows.schema)
    workspace.lake.overwrite("ml.labels.churn", rows)
    label = Label("ml.labels.churn", "churned", ("id",), "at", known_after)
    return read_known(workspace, label, workspace.lake.pin(label.name), as_of)


def at(*times: datetime | None) -> pa.Array:
    return pa.array(times, pa.timestamp("us", "UTC"))


def test_labels_are_read_once_they_are_known_in_order_of_time_and_keys(workspace: Workspace) -> None:
    found = known(workspace, [1, 0, 1, 1, None, 0], at(T - DAY, T - DAY + US, T - 2 * DAY, T - DAY, T - 2 * DAY, None))
    assert found.to_pylist() == [
        {"id": 2, "at": T - 2 * DAY, "churned": 1},
        {"id": 0, "at": T - DAY, "churned": 1},
        {"id": 3, "at": T - DAY, "churned": 1},
    ]
    assert found.schema.field("churned").type == pa.int64()


def test_a_date_is_the_end_of_its_day(workspace: Workspace) -> None:
    days = pa.array([date(2025, 2, 28), date(2025, 3, 1), date(2025, 3, 2)])
    found = known(workspace, [0, 1, 0], days, known_after=DAY)
    # The 1st ends when the 2nd begins, and is known a day later, at T.
    assert found.column("at").to_pylist() == [T - 2 * DAY, T - DAY]


@pytest.mark.parametrize(
    "values",
    [pa.array([True, False]), pa.array([1.0, 0.0]), pa.array([1, 0], pa.int8()), pa.array([1, 0], pa.int64())],
)
def test_booleans_and_numbers_are_labels(workspace: Workspace, values: pa.Array) -> None:
    assert known(workspace, values, at(T - DAY, T - DAY)).column("churned").to_pylist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([0, 2]), r"has the values \[0, 2\]"),
        (pa.array([-1, 1]), r"has the values \[-1, 1\]"),
        (pa.array([0.0, 0.5]), r"has the values \[0.0, 0.5\]"),
        (pa.array([0.0, float("inf")]), r"has the values \[0.0, inf\]"),
        (pa.array(["yes", "no"]), "is (large_)?string"),
    ],
)
def test_a_label_that_is_not_binary_is_refused(workspace: Workspace, values: pa.Array, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        known(workspace, values, at(T - DAY, T - DAY))
    assert "0 and 1" in refused.value.hint


def test_not_a_number_is_no_label(workspace: Workspace) -> None:
    found = known(workspace, pa.array([0.0, float("nan")]), at(T - DAY, T - DAY))
    assert found.column("id").to_pylist() == [0]


def test_columns_are_checked(workspace: Workspace) -> None:
    known(workspace, [1], at(T - DAY))
    pinned = workspace.lake.pin("ml.labels.churn")
    for label, column in (
        (Label("ml.labels.churn", "churn", ("id",), "at"), "churn"),
        (Label("ml.labels.churn", "churned", ("ids",), "at"), "ids"),
        (Label("ml.labels.churn", "churned", ("id",), "ats"), "ats"),
    ):
        with pytest.raises(InvalidInput, match=f"label table ml.labels.churn has no column '{column}'") as refused:
            read_known(workspace, label, pinned, T)
        assert "did you mean" in refused.value.hint
    with pytest.raises(InvalidInput, match=r"column 'id' of ml.labels.churn is int64, not a time"):
        read_known(workspace, Label("ml.labels.churn", "churned", ("other",), "id"), pinned, T)
