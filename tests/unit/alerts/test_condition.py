from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from millrace.alerts.ask import ask
from millrace.alerts.condition import Condition, is_bad, parse_operator, parse_threshold
from millrace.core.errors import InvalidInput
from tests.unit.alerts.desk import START, Lake


@pytest.mark.parametrize(
    ("operator", "bad"),
    [("=", [2]), ("!=", [1, 3]), (">", [3]), (">=", [2, 3]), ("<", [1]), ("<=", [1, 2])],
)
def test_a_value_is_bad_where_the_operator_holds(operator: Any, bad: list[int]) -> None:
    condition = Condition(operator, 2, sql="q")
    assert [value for value in (1, 2, 3) if is_bad(condition, value, 2)] == bad


@pytest.mark.parametrize("value", [None, float("nan"), Decimal("NaN")])
def test_where_there_is_no_value_only_null_can_be_asked_for(value: object) -> None:
    assert is_bad(Condition(">", 1, sql="q"), value, 1) is None
    assert is_bad(Condition("is null", sql="q"), value, None) is True
    assert is_bad(Condition("is not null", sql="q"), value, None) is False
    assert is_bad(Condition("is null", sql="q"), 0, None) is False


def test_values_of_one_kind_are_compared_and_others_refused() -> None:
    above = Condition(">", "2025-03-01", sql="q")
    assert is_bad(above, date(2025, 3, 2), "2025-03-01") is True
    assert is_bad(above, datetime(2025, 2, 1, tzinfo=UTC), "2025-03-01") is False
    assert is_bad(Condition("=", True, sql="q"), True, True) is True
    assert is_bad(Condition(">", 0.1, sql="q"), Decimal("0.2"), 0.1) is True
    with pytest.raises(InvalidInput, match="can't be compared"):
        is_bad(Condition(">", 1, sql="q"), "many", 1)


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        (">", ">"),
        ("==", "="),
        ("<>", "!="),
        ("GREATER_THAN_OR_EQUAL", ">="),
        ("IS_NULL", "is null"),
        ("NOT_EQUAL", "!="),
    ],
)
def test_operators_have_the_names_of_alerts_elsewhere_too(text: str, operator: str) -> None:
    assert parse_operator(text) == operator


def test_mistakes_are_told() -> None:
    with pytest.raises(InvalidInput, match="operator is 'above'") as caught:
        parse_operator("above")
    assert ">=" in caught.value.hint
    wrong: list[dict[str, Any]] = [
        {},
        {"sql": "q", "table": "t", "column": "c"},
        {"table": "t"},
        {"sql": "q", "window": timedelta(days=1), "time": "date"},
        {"table": "t", "column": "c", "window": timedelta(days=1)},
        {"sql": "q", "threshold": None},
        {"sql": "q", "threshold_column": "b"},
        {"sql": "q", "aggregation": "mean"},
        {"sql": "q", "empty": "fine"},
        {"table": "a.b.c.d", "column": "c"},
    ]
    for given in wrong:
        with pytest.raises(InvalidInput):
            Condition(**{"operator": ">", "threshold": 1, **given})
    with pytest.raises(InvalidInput, match="1 thresholds"):
        Condition("is null", 1, sql="q")


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), float("-inf")])
def test_a_threshold_that_json_has_no_number_for_is_refused(threshold: float) -> None:
    """It would come back as none from the database, and no rule of the home could be read any more."""
    with pytest.raises(InvalidInput, match="the threshold is"):
        Condition(">", threshold, sql="q")


def test_thresholds_are_numbers_truths_or_texts() -> None:
    assert [parse_threshold(text) for text in ("0.2", "-3", "true", "False", "late")] == [0.2, -3, True, False, "late"]


def test_a_table_is_asked_by_sql() -> None:
    condition = Condition(
        ">", 1, table="ml.m.summary", column="s", window=timedelta(days=7), time="date", where="kind = 'drift' OR x"
    )
    assert condition.query() == (
        'SELECT * FROM "ml"."m"."summary" WHERE (kind = \'drift\' OR x) AND "date" > now() - INTERVAL 604800 SECOND'
    )
    assert Condition(">", 1, table="summary", column="s").query() == 'SELECT * FROM "default"."summary"'
    assert Condition(">", 1, sql=" SELECT 1; ").query() == "SELECT 1"


def answered(table: pa.Table, condition: Condition, aggregated: pa.Table | None = None) -> tuple[str, object, str]:
    lake = Lake({"q": table})
    if aggregated is not None:
        lake.answers |= dict.fromkeys(AGGREGATED, aggregated)
    answer = ask(lake, condition, START)
    return answer.state, answer.value, answer.reason


AGGREGATED = [
    'SELECT max("score") AS a FROM (q\n)',
    'SELECT avg("score") AS a, avg("limit") AS b FROM (q\n)',
    'SELECT count(DISTINCT "score") AS a FROM (q\n)',
]


def test_the_first_row_or_an_aggregate_is_compared() -> None:
    rows = pa.table({"score": [0.1, 0.5], "limit": [0.3, 0.1]})
    assert answered(rows, Condition(">", 0.2, sql="q")) == ("ok", 0.1, "score is 0.1: the rule is not met (> 0.2)")
    assert answered(rows, Condition("<", sql="q", column="score", threshold_column="limit"))[0] == "bad"
    one = pa.table({"a": [0.5]})
    assert answered(rows, Condition(">", 0.2, sql="q", aggregation="max"), one) == (
        "bad",
        0.5,
        "max of score is 0.5: the rule is met (> 0.2)",
    )
    both = pa.table({"a": [0.3], "b": [0.2]})
    compared = Condition(">", sql="q", threshold_column="limit", aggregation="avg")
    assert answered(rows, compared, both)[:2] == ("bad", 0.3)
    distinct = Condition("=", 2, sql="q", aggregation="count_distinct")
    assert answered(rows, distinct, pa.table({"a": [2]}))[0] == "bad"


@pytest.mark.parametrize("empty", ["ok", "bad", "unknown", "error"])
def test_an_empty_result_means_what_the_rule_says(empty: Any) -> None:
    nothing = pa.table({"score": pa.array([], pa.float64())})
    assert answered(nothing, Condition(">", 1, sql="q", empty=empty)) == (empty, None, "the result has no rows")


def test_what_can_not_be_told_is_unknown_and_what_can_not_be_asked_an_error() -> None:
    null = pa.table({"score": pa.array([None], pa.float64())})
    assert answered(null, Condition(">", 1, sql="q"))[:2] == ("unknown", None)
    state, _, reason = answered(null, Condition(">", 1, sql="q", column="scor"))
    assert (state, reason) == ("error", "the result has no column 'scor' (did you mean 'score'?)")
    lake = Lake({"q": InvalidInput("the query can't be run: no such table", "did you mean 't'?")})
    answer = ask(lake, Condition(">", 1, sql="q"), START)
    assert (answer.state, answer.reason) == ("error", "the query can't be run: no such table (did you mean 't'?)")
