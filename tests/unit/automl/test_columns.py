from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest

from millrace.automl.ask import Asked, Wish, ask
from millrace.automl.read import Given
from millrace.core.errors import InvalidInput


def asked(frame: pd.DataFrame, target: str = "y", **wish: object) -> Asked:
    kinds = {str(name): str(kind) for name, kind in zip(frame.columns, frame.dtypes, strict=True)}
    task = str(wish.pop("task", "classification"))
    return ask(Given(frame, kinds), Wish(task, target, **wish))  # type: ignore[arg-type]


def frame(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"x": rng.normal(size=rows), "y": rng.integers(0, 2, rows)})


def test_each_column_is_taken_for_what_it_is_and_what_is_left_out_is_said() -> None:
    rows = 200
    rng = np.random.default_rng(1)
    data = frame(rows).assign(
        flag=rng.integers(0, 2, rows).astype(bool),
        colour=rng.choice(["red", "green", "blue"], rows),
        city=rng.choice([f"city {place}" for place in range(60)], rows),
        day=[date(2024, 1, 1 + place % 28) for place in range(rows)],
        order_id=range(rows),
        code=[f"c{place}" for place in range(rows)],
        note=[f"this is a text about thing number {place}" for place in range(rows)],
        same="x",
        nothing=np.nan,
    )
    found = asked(data).dataset
    assert {column.name: column.semantic for column in found.columns} == {
        "x": "number",
        "flag": "boolean",
        "colour": "category",
        "city": "high_cardinality",
        "day": "date",
        "order_id": "id",
        "code": "id",
        "note": "text",
        "same": "constant",
        "nothing": "empty",
    }
    assert [column.name for column in found.used] == ["x", "flag", "colour", "city", "day"]
    told = "\n".join(found.warnings)
    assert all(name in told for name in ("order_id", "code", "note", "same", "nothing"))


def test_infinite_numbers_are_missing_and_said() -> None:
    data = frame()
    data.loc[:4, "x"] = np.inf
    found = asked(data)
    (column,) = found.dataset.columns
    assert (column.missing, column.infinite) == (5, 5)
    assert "x: 5 infinite numbers count as missing" in found.dataset.warnings
    assert np.isnan(found.job.rows.features["x"][:5]).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame().assign(y=1), "there is nothing to learn"),
        (frame(10), "are too few"),
        (frame().assign(x=np.nan), "no column is left"),
        (frame().drop(columns="x"), "no column is left"),
        (pd.concat([frame(), frame()[["x"]]], axis=1), "stand twice"),
        (frame().assign(y=np.random.default_rng(0).normal(size=200)), "which are no classes"),
        (frame().assign(y=[[1, 2]] * 200), "has values that are no classes"),
        (frame().rename(columns={"x": 3}), "which is no text"),
        (frame().rename(columns={"y": "z"}), "which is no column"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused_with_the_reason(data: pd.DataFrame, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as error:
        asked(data)
    assert error.value.hint


@pytest.mark.parametrize(
    ("added", "wish", "message"),
    [
        ({}, {"time_col": "y"}, "time_col names the target"),
        ({"g": "one"}, {"group_col": "g"}, "all rows are of one group"),
        ({}, {"folds": 150}, "folds is 150, and there are no more than 1"),
        ({"t": pd.NaT}, {"time_col": "t"}, "no row is left: 200 rows have no t and are left out"),
        ({"s": "other"}, {"split_col": "s"}, "no row is left: 200 rows have none of train, validate, test in s"),
    ],
)
def test_roles_and_folds_that_can_not_be(added: dict[str, Any], wish: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        asked(frame().assign(**added), **wish)


def test_classes_with_fewer_rows_than_folds_are_dealt_as_far_as_they_go() -> None:
    data = pd.DataFrame({"x": np.arange(45.0), "y": np.arange(45) // 3})
    assert asked(data).job.plan.folds == 3


def test_values_that_no_model_takes_are_not_called_missing() -> None:
    found = asked(frame().assign(parts=[[1, 2]] * 200)).dataset
    assert found.warnings == ("parts is left out: its values are no numbers, texts or times",)


def test_a_class_of_one_row_is_left_out_and_said() -> None:
    data = frame().assign(y=["a"] * 100 + ["b"] * 99 + ["c"])
    found = asked(data)
    assert found.job.problem.classes == ("a", "b")
    assert "1 classes have one row" in " ".join(found.dataset.warnings)


class Colour(str, Enum):  # noqa: UP042 - its str() is its name, unlike StrEnum's
    RED = "red"
    BLUE = "blue"


def test_classes_of_an_enum_are_their_values_which_other_processes_know() -> None:
    found = asked(frame().assign(y=[Colour.RED, Colour.BLUE] * 100)).job.problem.classes
    assert found == ("blue", "red")
    assert {type(each) for each in found} == {str}


def test_small_data_is_dealt_several_times_and_large_data_once() -> None:
    assert [asked(frame(rows)).job.plan.repeats for rows in (50, 1000, 3000, 5000)] == [4, 3, 2, 1]
