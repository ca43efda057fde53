"""Conditions on a row, as text: a small part of SQL that means the same on every engine.

Comparisons (`=`, `<>`, `!=`, `<`, `<=`, `>`, `>=`), `IN`, `BETWEEN`, `LIKE`, `IS NULL` and their negations, joined by `AND`,
`OR`, `NOT` and brackets; on each side a column or a literal (a number, 'text', true, false; a time is 'text' beside a
time column). A comparison with null is neither true nor false, as in SQL; a row counts where the whole is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from millrace.core.clock import parse_time
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

Operator = Literal["=", "<>", "<", "<=", ">", ">="]
Value = bool | int | float | Decimal | str | date | datetime
Family = Literal["number", "text", "boolean", "date", "timestamp"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the row. Beside a `floating` one, any number is compared as a double."""

    name: str
    family: Family
    floating: bool = False


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal, already of its column's kind: a date beside a date, an aware datetime beside a timestamp."""

    value: Value


Operand = Column | Constant


@dataclass(frozen=True, slots=True)
class Compare:
    """`left operator right`; null where a side is null."""

    operator: Operator
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class IsNull:
    """Whether a column is null; never null itself."""

    operand: Column


@dataclass(frozen=True, slots=True)
class Like:
    """Whether text fits a pattern: `%` for any characters, `_` for one."""

    operand: Column
    pattern: str


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; null stays null."""

    inner: Condition


@dataclass(frozen=True, slots=True)
class All:
    """Every part is true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Some part is true."""

    parts: tuple[Condition, ...]


Condition = Compare | IsNull | Like | Not | All | AnyOf

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|'(?P<text>(?:[^']|'')*)'|(?P<name>[A-Za-z_]\w*)|\"(?P<quoted>[^\"]+)\""
    r"|`(?P<ticked>[^`]+)`|(?P<mark><>|!=|<=|>=|[=<>(),-]))"
)
_WORDS = {"and", "or", "not", "in", "is", "null", "between", "like", "true", "false"}
_HINT = "write comparisons of columns, joined by AND, OR and NOT, as \"amount > 100 AND region IN ('north', 'east')\""


def parse_condition(text: str, schema: pa.Schema, where: str) -> Condition:
    """The condition that a text says, checked against the columns.

    Args:
        text: the condition.
        schema: columns that it may name.
        where: what it belongs to, for messages.

    Raises:
        InvalidInput: it is not such a condition, names a column that is not there, or compares what can't be compared.
    """
    reader = _Reader(text, schema, where)
    found = reader.any_of()
    reader.end()
    return found


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


class _Reader:
    """Reads one condition from left to right."""

    def __init__(self, text: str, schema: pa.Schema, where: str) -> None:
        self._text, self._schema, self._where = text, schema, where
        self._tokens = list(self._split(text))
        self._at = 0

    def any_of(self) -> Condition:
        """`a OR b OR ...`."""
        parts = self._joined("or", self._all)
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def end(self) -> None:
        """Nothing may follow."""
        if self._at < len(self._tokens):
            raise self._refused(f"'{self._tokens[self._at].text}' was not expected")

    def _all(self) -> Condition:
        parts = self._joined("and", self._negated)
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _joined(self, word: str, read: Callable[[], Condition]) -> list[Condition]:
        parts = [read()]
        while self._take("word", word):
            parts.append(read())
        return parts

    def _negated(self) -> Condition:
        if self._take("word", "not"):
            return Not(self._negated())
        if self._take("mark", "("):
            inner = self.any_of()
            self._must("mark", ")")
            return inner
        return self._test()

    def _test(self) -> Condition:
        left = self._operand()
        if self._take("word", "is"):
            negative = self._take("word", "not")
            self._must("word", "null")
            return _maybe_not(IsNull(self._column(left)), negative)
        negative = self._take("word", "not")
        if self._take("word", "in"):
            return _maybe_not(self._in(left), negative)
        if self._take("word", "between"):
            low = self._operand()
            self._must("word", "and")
            both = All((self._compare(">=", left, low), self._compare("<=", left, self._operand())))
            return _maybe_not(both, negative)
        if self._take("word", "like"):
            return _maybe_not(self._like(left), negative)
        if negative:
            raise self._refused("NOT stands before IN, BETWEEN, LIKE, or a whole condition")
        return self._comparison(left)

    def _comparison(self, left: Operand) -> Condition:
        for operator in ("=", "<>", "!=", "<=", ">=", "<", ">"):
            if self._take("mark", operator):
                return self._compare("<>" if operator == "!=" else operator, left, self._operand())  # type: ignore[arg-type]
        if isinstance(left, Column) and left.family == "boolean":
            return Compare("=", left, Constant(value=True))
        raise self._refused("a comparison is missing")

    def _in(self, left: Operand) -> Condition:
        self._must("mark", "(")
        parts: list[Condition] = [self._compare("=", left, self._operand())]
        while self._take("mark", ","):
            parts.append(self._compare("=", left, self._operand()))
        self._must("mark", ")")
        return AnyOf(tuple(parts))

    def _like(self, left: Operand) -> Condition:
        column, pattern = self._column(left), self._operand()
        if column.family != "text" or not isinstance(pattern, Constant) or not isinstance(pattern.value, str):
            raise self._refused("LIKE compares a text column with a 'pattern'")
        if "\\" in pattern.value:
            raise self._refused("a pattern with a backslash means different things to different engines")
        return Like(column, pattern.value)

    def _compare(self, operator: Operator, left: Operand, right: Operand) -> Compare:
        if isinstance(left, Constant) and isinstance(right, Constant):
            raise self._refused("two literals are compared")
        family = left.family if isinstance(left, Column) else right.family  # type: ignore[union-attr]
        left, right = self._fitting(left, family), self._fitting(right, family)
        if any(isinstance(side, Column) and side.floating for side in (left, right)):
            left, right = _as_double(left), _as_double(right)
        return Compare(operator, left, right)

    def _fitting(self, operand: Operand, family: Family) -> Operand:
        if isinstance(operand, Column):
            if operand.family != family:
                raise self._refused(f"'{operand.name}' is a {operand.family}, and is compared with a {family}")
            return operand
        value = operand.value
        kinds: dict[Family, tuple[type, ...]] = {"number": (int, float, Decimal), "text": (str,), "boolean": (bool,)}
        if family in {"date", "timestamp"} and isinstance(value, str):
            return Constant(self._time(value, family))
        if not isinstance(value, kinds.get(family, ())) or (family == "number" and isinstance(value, bool)):
            raise self._refused(f"{value!r} is compared with a {family}")
        return operand

    def _time(self, text: str, family: Family) -> date | datetime:
        try:
            return parse_time(text) if family == "timestamp" else date.fromisoformat(text)
        except (ValueError, InvalidInput) as error:
            raise self._refused(f"'{text}' is not a {family}") from error

    def _operand(self) -> Operand:
        token = self._next()
        if token.kind == "name":
            return self._named(token.text)
        if token.kind == "text":
            return Constant(token.text)
        if token.kind == "number":
            return Constant(_number(token.text))
        if token.kind == "mark" and token.text == "-":
            return Constant(-_number(self._must("number")))
        if token.kind == "word" and token.text in {"true", "false"}:
            return Constant(value=token.text == "true")
        raise self._refused(f"'{token.text}' stands where a column or a literal is expected")

    def _named(self, name: str) -> Column:
        if name not in self._schema.names:
            raise InvalidInput(
                f"{self._where}: there is no column '{name}' for the condition {self._text!r}",
                hint=did_you_mean(name, self._schema.names),
                column=name,
            )
        kind = self._schema.field(name).type
        family = _family(kind)
        if family is None:
            raise self._refused(f"'{name}' is {kind}, which can't be compared")
        return Column(name, family, "double" in str(kind) or "float" in str(kind))

    def _column(self, operand: Operand) -> Column:
        if isinstance(operand, Constant):
            raise self._refused("a column is expected on the left")
        return operand

    def _next(self) -> _Token:
        if self._at == len(self._tokens):
            raise self._refused("it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, kind: str, text: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == _Token(kind, text):
            self._at += 1
            return True
        return False

    def _must(self, kind: str, text: str | None = None) -> str:
        token = self._next()
        if token.kind != kind or (text is not None and token.text != text):
            raise self._refused(f"'{token.text}' stands where {text or kind} is expected")
        return token.text

    def _split(self, text: str) -> Iterator[_Token]:
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._refused(f"'{text[at:].strip()[0]}' is no part of a condition")
            at = match.end()
            kind = str(match.lastgroup)
            said = match[kind]
            if kind == "name" and said.lower() in _WORDS:
                yield _Token("word", said.lower())
            elif kind == "text":
                yield _Token("text", said.replace("''", "'"))
            else:
                yield _Token("name" if kind in {"quoted", "ticked"} else kind, said)

    def _refused(self, why: str) -> InvalidInput:
        return InvalidInput(f"{self._where}: the condition {self._text!r} can't be read: {why}", hint=_HINT)


def columns_of(condition: Condition) -> frozenset[str]:
    """The columns that a condition reads."""
    match condition:
        case Compare(_, left, right):
            return frozenset(side.name for side in (left, right) if isinstance(side, Column))
        case IsNull(operand) | Like(operand, _):
            return frozenset({operand.name})
        case Not(inner):
            return columns_of(inner)
        case All(parts) | AnyOf(parts):
            return frozenset().union(*(columns_of(part) for part in parts))


def _maybe_not(condition: Condition, negative: bool) -> Condition:  # noqa: FBT001 - says whether NOT was read
    return Not(condition) if negative else condition


def _as_double(side: Operand) -> Operand:
    if isinstance(side, Constant):
        return Constant(float(side.value)) if isinstance(side.value, int | Decimal) else side
    return replace(side, floating=True)


def _number(text: str) -> int | float | Decimal:
    if "e" in text.lower():
        return float(text)
    return Decimal(text) if "." in text else int(text)


def _family(kind: pa.DataType) -> Family | None:
    import pyarrow as pa

    tests: Sequence[tuple[Family, Callable[[pa.DataType], bool]]] = (
        ("boolean", pa.types.is_boolean),
        ("number", lambda t: pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_decimal(t)),
        ("text", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t)),
        ("date", pa.types.is_date),
        ("timestamp", pa.types.is_timestamp),
    )
    return next((family for family, belongs in tests if belongs(kind)), None)
