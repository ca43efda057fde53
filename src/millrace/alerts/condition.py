"""The condition of a rule over a metric or SQL, and what a value means under it.

As Databricks' AlertV2 has it: a source column with an optional aggregation over the rows of the query's result, a comparison
operator, a threshold (a value, or another column), and the state of an empty result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, TypeAlias, cast

from millrace.core.errors import InvalidInput
from millrace.core.names import TableName

Value: TypeAlias = float | str | bool | None
Operator = Literal["=", "!=", ">", ">=", "<", "<=", "is null", "is not null"]
Aggregation = Literal["avg", "count", "count_distinct", "max", "median", "min", "stddev", "sum"]
Empty = Literal["ok", "bad", "unknown", "error"]

OPERATORS: Final = ("=", "!=", ">", ">=", "<", "<=", "is null", "is not null")
AGGREGATIONS: Final = ("avg", "count", "count_distinct", "max", "median", "min", "stddev", "sum")
EMPTY: Final = ("ok", "bad", "unknown", "error")
_UNARY = ("is null", "is not null")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a rule asks: a query over the lake, or the newest rows of a metric table.

    Attributes:
        operator: the value is bad where this holds against the threshold.
        threshold: number, text or truth; None with `is null`, `is not null` or `threshold_column`.
        sql: one SELECT over tables of the lake; None: `table` is asked.
        table: a table, instead of SQL.
        column: of the result; None: the first.
        aggregation: over all rows of the result; None: the first row counts.
        threshold_column: compares with this column of the result, aggregated in the same way.
        window: of `table`: only rows whose `time` is within this long before now; None: all.
        time: the time column of `table`.
        where: a condition on the rows of `table`, as SQL.
        empty: the state where the result has no rows.
    """

    operator: Operator
    threshold: Value = None
    sql: str | None = None
    table: str | None = None
    column: str | None = None
    aggregation: Aggregation | None = None
    threshold_column: str | None = None
    window: timedelta | None = None
    time: str | None = None
    where: str | None = None
    empty: Empty = "unknown"

    def __post_init__(self) -> None:
        _one_of("operator", self.operator, OPERATORS)
        _one_of("aggregation", self.aggregation, (*AGGREGATIONS, None))
        _one_of("empty", self.empty, EMPTY)
        if (self.sql is None) == (self.table is None):
            raise InvalidInput("a condition needs SQL or a table, and not both", hint="give one of the two")
        if self.sql is not None and (self.window or self.time or self.where):
            raise InvalidInput("window, time and where are for a table", hint="write them into the SQL")
        if self.table is not None:
            TableName.parse(self.table)
            if self.column is None:
                raise InvalidInput(f"no column of {self.table} is named", hint="name the one that is compared")
        if (self.window is None) != (self.time is None):
            raise InvalidInput("a window needs a time column, and the other way round", hint="give both or none")
        if isinstance(self.threshold, float) and not math.isfinite(self.threshold):
            raise InvalidInput(f"the threshold is {self.threshold}", hint="give a finite number")
        given = [self.threshold is not None, self.threshold_column is not None]
        if sum(given) != (0 if self.operator in _UNARY else 1):
            raise InvalidInput(
                f"'{self.operator}' is given {sum(given)} thresholds",
                hint="give a value or a column to compare with; none with 'is null' and 'is not null'",
            )

    def query(self) -> str:
        """The SQL whose result is compared."""
        if self.sql is not None:
            return self.sql.strip().rstrip(";")
        limits = [f"({self.where})"] if self.where else []
        if self.window is not None:
            limits.append(f"{quoted(str(self.time))} > now() - INTERVAL {int(self.window.total_seconds())} SECOND")
        where = f" WHERE {' AND '.join(limits)}" if limits else ""
        return f"SELECT * FROM {_table(str(self.table))}{where}"


def parse_operator(text: str) -> Operator:
    """Read an operator: as it is written here, `==` or `<>`, or by its name in AlertV2, as `GREATER_THAN`.

    Raises:
        InvalidInput: there is no such operator.
    """
    given = " ".join(text.lower().replace("_", " ").split())
    found = _ALSO.get(given, given)
    _one_of("operator", found if found in OPERATORS else text, OPERATORS)
    return cast("Operator", found)


def parse_threshold(text: str) -> float | str | bool:
    """A threshold from text: a number, `true` or `false`, else the text itself."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


_ALSO = {
    "==": "=",
    "<>": "!=",
    "equal": "=",
    "not equal": "!=",
    "greater than": ">",
    "greater than or equal": ">=",
    "less than": "<",
    "less than or equal": "<=",
}


def is_bad(condition: Condition, value: object, threshold: object) -> bool | None:
    """Whether a value is bad; None where there is nothing to compare: a null or NaN.

    Raises:
        InvalidInput: the two can't be compared, as a text and a number.
    """
    left, right = plain(value), plain(threshold)
    if condition.operator in _UNARY:
        return (left is None) == (condition.operator == "is null")
    if left is None or right is None:
        return None
    if isinstance(left, str) != isinstance(right, str):
        raise InvalidInput(
            f"{left!r} can't be compared with {right!r}",
            hint="give a threshold of the column's kind, or cast the column",
        )
    return _holds(left, condition.operator, right)


def plain(value: object) -> Value:
    """A value of a result as number, text or truth; None for null and NaN. Times are ISO texts, which sort as they do."""
    match value:
        case None | bool() | str():
            return value
        case int() | float() | Decimal():
            number = float(value)
            return None if math.isnan(number) else number
        case datetime() | date():
            return value.isoformat()
        case _:
            return str(value)


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _holds(left: float | str, operator: str, right: float | str) -> bool:
    # Both are texts, or both are numbers or truths: they can be compared.
    match operator:
        case "=":
            return left == right
        case "!=":
            return left != right
        case ">":
            return left > right  # type: ignore[operator]
        case ">=":
            return left >= right  # type: ignore[operator]
        case "<":
            return left < right  # type: ignore[operator]
        case _:
            return left <= right  # type: ignore[operator]


def _table(name: str) -> str:
    return ".".join(quoted(part) for part in str(TableName.parse(name)).split("."))


def _one_of(name: str, given: object, known: tuple[object, ...]) -> None:
    if given not in known:
        names = [str(each) for each in known if each is not None]
        raise InvalidInput(f"{name} is '{given}'", hint=f"write one of: {', '.join(names)}")
