from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput, InvalidState, NotFound, UsageError
from millrace.core.names import TableName
from millrace.lake.lake import Lake
from millrace.serving.capture.inference_tables import predictions_schema
from millrace.serving.labels.late_labels import (
    LabelColumns,
    LabelSummary,
    import_labels,
    predictions_table,
    tolerance_of,
    types_of,
)
from millrace.serving.types import Description, ServedEntity
from millrace.testing.endpoints import endpoint

TABLE = TableName.parse("ml.logs.churn_predictions")
T0 = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = T0 + 1000 * DAY
DESCRIPTION = Description(
    "d", "ml.logs.churn", "churn", 1, "churn-1", "ml.models.churn", "1", (("customer_id", "int64"),), ()
)
BY_KEY = LabelColumns("churned", ("customer_id",), "at", 7 * DAY)
Predicted = tuple[str, int, datetime, int]


def predict(lake: Lake, *rows: Predicted, texts: bool = False) -> None:
    schema = predictions_schema(DESCRIPTION)
    if texts:
        for name in ("prediction", "actual_label"):
            schema = schema.set(schema.get_field_index(name), pa.field(name, pa.string()))
    lake.ensure(TABLE, schema)
    names = ("request_id", "row", "timestamp", "customer_id")
    content = [{**dict.fromkeys(schema.names), **dict(zip(names, row, strict=True))} for row in rows]
    lake.append(TABLE, pa.Table.from_pylist(content, schema=schema))


def labelled(lake: Lake) -> dict[tuple[str, int], tuple[Any, datetime | None]]:
    rows = lake.read(TABLE).to_pylist()
    return {(row["request_id"], row["row"]): (row["actual_label"], row["label_time"]) for row in rows}


def by_request(**columns: Any) -> pa.Table:
    return pa.table(columns)


def test_by_request_and_row_each_label_is_accounted_for(lake: Lake) -> None:
    predict(lake, ("r", 0, T0, 1), ("r", 1, T0, 2), ("s", 0, T0, 3))
    first = by_request(request_id=["r", "gone"], label=[True, False])
    assert import_labels(lake, TABLE, first, LabelColumns(), as_of=LATER) == LabelSummary(2, 2, 1, 0, 0, 1)
    # Of the same rows: one has it already, one has another, one is new, one lacks its label, one is unknown.
    rows = [0, 1, 0, 0, 5]
    table = by_request(request_id=["r", "r", "s", "t", "r"], row=rows, label=[0, 1, 0, None, 1])
    assert import_labels(lake, TABLE, table, LabelColumns(), as_of=LATER) == LabelSummary(5, 4, 2, 0, 1, 1)
    assert labelled(lake) == {("r", 0): (1.0, None), ("r", 1): (1.0, None), ("s", 0): (0.0, None)}


def test_the_same_labels_again_change_nothing(lake: Lake) -> None:
    predict(lake, ("r", 0, T0, 1), ("s", 0, T0 + DAY, 1))
    labels = pa.table({"customer_id": [1], "at": pa.array([T0], pa.timestamp("us", "UTC")), "churned": [1]})
    assert import_labels(lake, TABLE, labels, BY_KEY, as_of=LATER) == LabelSummary(1, 1, 2, 0, 0, 0)
    version = lake.history(TABLE)[-1].version
    assert import_labels(lake, TABLE, labels, BY_KEY, as_of=LATER) == LabelSummary(1, 1, 0, 2, 0, 0)
    assert lake.history(TABLE)[-1].version == version
    assert labelled(lake) == {("r", 0): (1.0, T0), ("s", 0): (1.0, T0)}


def test_by_key_a_label_that_another_replaces_or_nobody_waits_for_is_unmatched(lake: Lake) -> None:
    predict(lake, ("r", 0, T0 + 2 * DAY, 1), ("s", 0, T0 + 30 * DAY, 1))
    times = [T0, T0 + DAY, T0 + 20 * DAY, T0 + DAY, LATER + DAY]
    labels = pa.table(
        {
            "customer_id": [1, 1, 1, 9, 1],
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            "churned": [0.0, 1.0, 1.0, 1.0, 0.0],
        }
    )
    # The second is for the first prediction; the fifth is of the future, and not counted as a label.
    assert import_labels(lake, TABLE, labels, BY_KEY, as_of=LATER) == LabelSummary(5, 4, 1, 0, 0, 3)
    assert labelled(lake) == {("r", 0): (1.0, T0 + DAY), ("s", 0): (None, None)}


def test_a_dry_run_tells_and_writes_nothing(lake: Lake) -> None:
    predict(lake, ("r", 0, T0, 1))
    version = lake.history(TABLE)[-1].version
    labels = by_request(request_id=["r"], label=[1])
    told = import_labels(lake, TABLE, labels, LabelColumns(), as_of=LATER, dry_run=True)
    assert told == LabelSummary(1, 1, 1, 0, 0, 0)
    assert lake.history(TABLE)[-1].version == version
    assert import_labels(lake, TABLE, labels, LabelColumns(), as_of=LATER) == told


def test_predictions_after_as_of_are_left_alone(lake: Lake) -> None:
    predict(lake, ("r", 0, T0 + DAY, 1))
    labels = by_request(request_id=["r"], label=[1])
    assert import_labels(lake, TABLE, labels, LabelColumns(), as_of=T0) == LabelSummary(1, 1, 0, 0, 0, 1)


def test_classes_that_are_texts_have_labels_that_are_texts(lake: Lake) -> None:
    predict(lake, ("r", 0, T0, 1), ("s", 0, T0, 2), texts=True)
    assert types_of(lake, TABLE, LabelColumns())["label"] == pa.string()
    labels = by_request(request_id=["r", "s"], label=["stays", "leaves"])
    assert import_labels(lake, TABLE, labels, LabelColumns(), as_of=LATER) == LabelSummary(2, 2, 2, 0, 0, 0)
    assert labelled(lake) == {("r", 0): ("stays", None), ("s", 0): ("leaves", None)}
    again = by_request(request_id=["r", "s"], label=["stays", "stays"])
    assert import_labels(lake, TABLE, again, LabelColumns(), as_of=LATER) == LabelSummary(2, 2, 0, 1, 1, 0)
    with pytest.raises(InvalidInput, match=r"label 'label' is int64\n.*classes are texts"):
        import_labels(lake, TABLE, by_request(request_id=["r"], label=[1]), LabelColumns(), as_of=LATER)


def test_types_come_from_the_predictions(lake: Lake) -> None:
    with pytest.raises(NotFound, match=r"no predictions in ml\.logs\.churn_predictions yet"):
        types_of(lake, TABLE, LabelColumns())
    predict(lake, ("r", 0, T0, 1))
    assert types_of(lake, TABLE, BY_KEY) == {
        "request_id": pa.string(),
        "row": pa.int32(),
        "customer_id": pa.int64(),
    }
    with pytest.raises(NotFound, match="no column 'customer'"):
        types_of(lake, TABLE, LabelColumns(keys=("customer",)))


@pytest.mark.parametrize(
    ("columns", "rows", "said"),
    [
        (LabelColumns(), {"customer_id": [1], "label": [1]}, "no request_id, and no key was named"),
        (LabelColumns("churned"), {"request_id": ["r"], "label": [1]}, "no column 'churned'"),
        (LabelColumns(), {"request_id": ["r", "s", "r"], "label": [1, 1, 0]}, "the second is row 3"),
        (LabelColumns(), {"request_id": ["r"], "label": ["yes"]}, "label 'label' is string"),
        (BY_KEY, {"customer_id": [1], "churned": [1]}, "no column 'at'"),
        (BY_KEY, {"customer_id": ["1"], "churned": [1], "at": [T0]}, "key 'customer_id' is int64"),
        (BY_KEY, {"customer_id": [1, 1], "churned": [1, 0], "at": [T0, T0]}, "the second is row 2"),
        (BY_KEY, {"customer_id": [1], "churned": [1], "at": [5]}, "label time 'at' is int64"),
        (
            BY_KEY,
            {"customer_id": [1, 1, 1], "churned": [1, 1, 1], "at": ["2025-03-01T00:00:00Z", None, "2025-13-01"]},
            "label time 'at' is string; the first that is no time is row 3",
        ),
    ],
)
def test_wrong_labels_are_refused_whole(
    lake: Lake, columns: LabelColumns, rows: dict[str, list[object]], said: str
) -> None:
    predict(lake, ("r", 0, T0, 1), ("s", 0, T0, 1))
    with pytest.raises(InvalidInput, match=said):
        import_labels(lake, TABLE, pa.table(rows), columns, as_of=LATER)
    assert set(labelled(lake).values()) == {(None, None)}


def test_where_an_endpoints_predictions_are() -> None:
    kept = endpoint("churn")
    assert predictions_table(kept).full == "main.ml.churn_predictions"
    with pytest.raises(InvalidState, match="nothing is kept"):
        predictions_table(replace(kept, config=replace(kept.config, capture=None)))
    features = replace(kept.config, served=(ServedEntity("spec", "ml.specs.s", None),))
    with pytest.raises(InvalidState, match="predicts nothing"):
        predictions_table(replace(kept, config=features))


@pytest.mark.parametrize("days", [-1, float("nan"), float("inf"), 1e12])
def test_a_tolerance_is_a_number_of_days(days: float) -> None:
    assert tolerance_of(1.5) == timedelta(hours=36)
    with pytest.raises(UsageError, match="can't be"):
        tolerance_of(days)
