"""Which spellings of the engine's own time are told, where the engine's clock can be set and where it can't."""

from __future__ import annotations

import pytest

from millrace.core.errors import InvalidInput
from millrace.lake.adapters.plan_guard import Guard

NOWS = [
    "current_date",
    "`current_date`()",
    "system.builtin.now()",
    "builtin.`current_timestamp`()",
    "CAST('now' AS TIMESTAMP)",
    "to_date(' Today ')",
    "at < 'yesterday'",
    "TIMESTAMP_NTZ 'tomorrow'",
    "to_timestamp('now Europe/Berlin')",
    'to_date("today +01:00")',
]
HONEST = ["t.current_date", "`current_date`", "x.now", "now", "'nowhere'", "'now and then'", "'today is fine'"]


@pytest.mark.parametrize("sql", NOWS)
def test_a_spark_whose_clock_cannot_be_set_is_not_asked_for_its_time(sql: str) -> None:
    with pytest.raises(InvalidInput, match="Spark cluster's own time"):
        Guard(clock_is_set=False).check_text(f"SELECT {sql} FROM t")


@pytest.mark.parametrize("clock_is_set", [True, False])
@pytest.mark.parametrize("sql", HONEST)
def test_columns_and_words_are_no_times(sql: str, clock_is_set: bool) -> None:  # noqa: FBT001 - a parameter of the test
    Guard(clock_is_set).check_text(f"SELECT {sql} FROM t")


def test_text_in_a_plan_is_looked_at_too() -> None:
    from pyspark.sql.connect.proto import Expression

    word = Expression(literal=Expression.Literal(string="today"))
    with pytest.raises(InvalidInput, match="'today' is the Spark cluster's own time"):
        Guard(clock_is_set=False).check(word)
    Guard(clock_is_set=True).check(word)  # Sail takes it for text
    Guard(clock_is_set=False).check(Expression(literal=Expression.Literal(string="toda")))
