from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, NotFound
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.serving.capture.inference_tables import predictions_schema
from millrace.serving.labels.labels import join_labels
from millrace.serving.types import Description

TABLE = "ml.logs.churn_predictions"
T0 = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = T0 + 1000 * DAY
KEYS = (("customer_id", "int64"), ("shop", "string"))
DESCRIPTION = Description("d", "ml.logs.churn", "churn", 1, "churn-1", "ml.models.churn", "1", KEYS, (("a", "double"),))
_TIME = pa.timestamp("us", "UTC")

Predicted = tuple[str, int, datetime, int | None, str | None]
Label = tuple[int | None, str | None, datetime | None, bool | None]


def predict(lake: Lake, *rows: Predicted) -> None:
    schema = predictions_schema(DESCRIPTION)
    lake.ensure(TABLE, schema)
    names = ("request_id", "row", "timestamp", "customer_id", "shop")
    content = [{**dict.fromkeys(schema.names), **dict(zip(names, row, strict=True)), "prediction": 1.0} for row in rows]
    lake.append(TABLE, pa.Table.from_pylist(content, schema=schema))


def labels_of(*rows: Label) -> pa.Table:
    schema = pa.schema([("customer_id", pa.int32()), ("shop", pa.string()), ("at", _TIME), ("churned", pa.bool_())])
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def join(lake: Lake, labels: pa.Table, tolerance: timedelta = 7 * DAY, as_of: datetime = LATER) -> int:
    return join_labels(
        lake,
        TABLE,
        labels,
        keys=["customer_id", "shop"],
        label_column="churned",
        label_time="at",
        tolerance=tolerance,
        as_of=as_of,
    )


def labelled(lake: Lake) -> dict[tuple[str, int], tuple[float | None, datetime | None]]:
    rows = lake.read(TABLE).to_pylist()
    return {(row["request_id"], row["row"]): (row["actual_label"], row["label_time"]) for row in rows}


def test_each_prediction_gets_the_newest_label_before_it(lake: Lake) -> None:
    predict(lake, ("r", 0, T0 + 3 * DAY, 1, "x"), ("r", 1, T0 + 3 * DAY, 2, "x"), ("s", 0, T0 + 9 * DAY, 1, "x"))
    labels = labels_of(
        (1, "x", T0, False), (1, "x", T0 + 2 * DAY, True), (1, "x", T0 + 4 * DAY, False), (2, "y", T0, True)
    )
    assert join(lake, labels) == 2
    assert labelled(lake) == {
        ("r", 0): (1.0, T0 + 2 * DAY),
        ("r", 1): (None, None),
        ("s", 0): (0.0, T0 + 4 * DAY),
    }


def test_both_bounds_are_inclusive_to_the_microsecond(lake: Lake) -> None:
    us = timedelta(microseconds=1)
    predict(
        lake,
        ("same", 0, T0, 1, "x"),
        ("before", 0, T0 - us, 1, "x"),
        ("oldest", 0, T0 + 7 * DAY, 1, "x"),
        ("older", 0, T0 + 7 * DAY + us, 1, "x"),
    )
    assert join(lake, labels_of((1, "x", T0, True))) == 2
    assert {name for (name, _), (label, _) in labelled(lake).items() if label is not None} == {"same", "oldest"}


def test_again_changes_nothing_and_a_label_once_given_stays(lake: Lake) -> None:
    predict(lake, ("r", 0, T0, 1, "x"))
    join(lake, labels_of((1, "x", T0, True)))
    version = lake.history(TABLE)[-1].version
    assert join(lake, labels_of((1, "x", T0, True))) == 0
    assert join(lake, labels_of((1, "x", T0, False))) == 0
    assert lake.history(TABLE)[-1].version == version
    assert labelled(lake) == {("r", 0): (1.0, T0)}


def test_of_two_labels_at_once_the_first_stays(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    predict(lake, ("r", 0, T0, 1, "x"), ("s", 0, T0, 2, "x"))
    read = Lake.read

    def overtaken(self: Lake, *args: Any, **more: Any) -> pa.Table:
        rows = read(self, *args, **more)
        monkeypatch.setattr(Lake, "read", read)
        assert join(lake, labels_of((1, "x", T0, True))) == 1
        return rows

    monkeypatch.setattr(Lake, "read", overtaken)
    join(lake, labels_of((1, "x", T0, False), (2, "x", T0, False)))
    assert labelled(lake) == {("r", 0): (1.0, T0), ("s", 0): (0.0, T0)}


def test_only_the_label_columns_change(lake: Lake) -> None:
    predict(lake, ("r", 0, T0, 1, "x"), ("r", 1, T0, 2, "x"))
    before = {row["row"]: row for row in lake.read(TABLE).to_pylist()}
    join(lake, labels_of((1, "x", T0, True)))
    after = {row["row"]: row for row in lake.read(TABLE).to_pylist()}
    assert after == {0: {**before[0], "actual_label": 1.0, "label_time": T0}, 1: before[1]}


def test_what_is_after_as_of_is_left_alone(lake: Lake) -> None:
    predict(lake, ("r", 0, T0, 1, "x"), ("s", 0, T0 + 2 * DAY, 1, "x"))
    labels = labels_of((1, "x", T0, True), (1, "x", T0 + 2 * DAY, False))
    assert join(lake, labels, as_of=T0 + DAY) == 1
    assert labelled(lake) == {("r", 0): (1.0, T0), ("s", 0): (None, None)}


def test_nulls_match_nothing(lake: Lake) -> None:
    predict(lake, ("r", 0, T0, None, "x"), ("r", 1, T0, 1, "x"))
    assert (
        join(lake, labels_of((None, "x", T0, True), (1, None, T0, True), (1, "x", None, True), (1, "x", T0, None))) == 0
    )


def test_a_date_stands_for_the_end_of_its_day(lake: Lake) -> None:
    predict(lake, ("r", 0, T0 + timedelta(hours=12), 1, "x"), ("s", 0, T0 + DAY, 1, "x"))
    table = labels_of((1, "x", T0, True)).set_column(2, "at", pa.array([date(2025, 1, 1)]))
    assert join(lake, table) == 1
    assert labelled(lake)["s", 0] == (1.0, T0 + DAY)


def test_wrong_labels_are_refused(lake: Lake) -> None:
    predict(lake, ("r", 0, T0, 1, "x"))
    fine = labels_of((1, "x", T0, True))
    with pytest.raises(InvalidInput, match="two different labels"):
        join(lake, labels_of((1, "x", T0, True), (1, "x", T0, False)))
    with pytest.raises(InvalidInput, match="the labels have no column 'churned'"):
        join(lake, fine.drop_columns(["churned"]))
    with pytest.raises(InvalidInput, match="key 'customer_id' is int64 in the predictions and string in the labels"):
        join(lake, fine.set_column(0, "customer_id", pa.array(["1"])))
    with pytest.raises(InvalidInput, match="label 'churned' is string"):
        join(lake, fine.set_column(3, "churned", pa.array(["yes"])))
    with pytest.raises(InvalidInput, match="label time 'at' is int64"):
        join(lake, fine.set_column(2, "at", pa.array([1])))
    assert join(lake, labels_of((1, "x", T0, True), (1, "x", T0, True))) == 1


def test_unknown_tables_and_columns(lake: Lake) -> None:
    with pytest.raises(NotFound):
        join(lake, labels_of((1, "x", T0, True)))
    predict(lake, ("r", 0, T0, 1, "x"))
    labels = labels_of((1, "x", T0, True)).rename_columns(["customer", "shop", "at", "churned"])
    with pytest.raises(NotFound, match="no column 'customer'"):
        join_labels(
            lake, TABLE, labels, keys=["customer"], label_column="churned", label_time="at", tolerance=DAY, as_of=LATER
        )


_HOURS = st.integers(0, 12)
_CUSTOMERS = st.sampled_from([1, 2, None])


@settings(max_examples=15, deadline=None)
@given(
    asked=st.lists(st.tuples(_HOURS, _CUSTOMERS), min_size=1, max_size=6),
    known=st.lists(st.tuples(_CUSTOMERS, _HOURS, st.booleans()), max_size=8, unique_by=lambda row: row[:2]),
    tolerance=st.integers(0, 4),
)
def test_labels_follow_the_rule(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[int, int | None]],
    known: list[tuple[int | None, int, bool]],
    tolerance: int,
) -> None:
    home = tmp_path_factory.mktemp("home")
    engine = open_database(f"sqlite:///{home / 'millrace.db'}")
    lake = Lake(SqlCatalog(engine), DeltaTableStore(), ManualClock(T0), Principal("user", "ada"), str(home))
    hour = timedelta(hours=1)
    predict(lake, *((f"r{number}", 0, T0 + at * hour, key, "x") for number, (at, key) in enumerate(asked)))
    labels = labels_of(*((key, "x", T0 + at * hour, value) for key, at, value in known))
    expected: dict[tuple[str, int], Any] = {}
    for number, (at, key) in enumerate(asked):
        fitting = [(time, value) for other, time, value in known if other == key and 0 <= at - time <= tolerance]
        found = max(fitting) if fitting and key is not None else None
        expected[f"r{number}", 0] = (float(found[1]), T0 + found[0] * hour) if found else (None, None)
    assert join(lake, labels, tolerance * hour) == sum(label is not None for label, _ in expected.values())
    assert labelled(lake) == expected
    engine.dispose()
