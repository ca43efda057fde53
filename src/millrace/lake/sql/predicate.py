"""The condition of a `DELETE`, checked to mean the same to Spark and to the writer of Delta tables.

The two have different SQL: what they agree on is columns compared with plain values of their own kind, put together with AND, OR
and NOT. All else is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from millrace.core.clock import iso, parse_time
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.lake.sql.tokens import Token, string_value, tokens

if TYPE_CHECKING:
    import pyarrow as pa

_COMPARES = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def delete_predicate(text: str, schema: pa.Schema) -> str:
    """A condition in Spark's SQL as one for the table's writer.

    Raises:
        InvalidInput: something other than columns compared with plain values of their kind.
    """
    parser = _Parser(tokens(text), schema, text)
    result = parser.either()
    if parser.place < len(parser.found):
        raise parser.unclear()
    return result


class _Parser:
    def __init__(self, found: Sequence[Token], schema: pa.Schema, text: str) -> None:
        self.found, self.schema, self.text, self.place = found, schema, text, 0

    def either(self) -> str:
        result = self.both()
        while self._take("OR"):
            result = f"({result} OR {self.both()})"
        return result

    def both(self) -> str:
        result = self.one()
        while self._take("AND"):
            result = f"({result} AND {self.one()})"
        return result

    def one(self) -> str:
        if self._take("NOT"):
            return f"(NOT {self.one()})"
        if self._take("("):
            inner = self.either()
            if not self._take(")"):
                raise self.unclear()
            return inner
        return self._compared()

    def _compared(self) -> str:
        column = self._column()
        left = '"' + column.replace('"', '""') + '"'
        if self._take("IS"):
            word = "IS NOT NULL" if self._take("NOT") else "IS NULL"
            if not self._take("NULL"):
                raise self.unclear()
            return f"{left} {word}"
        negated = "NOT " if self._take("NOT") else ""
        if self._take("IN"):
            return f"{left} {negated}IN ({', '.join(self._list(column))})"
        if self._take("BETWEEN"):
            low = self._value(column)
            if not self._take("AND"):
                raise self.unclear()
            return f"({left} {negated}BETWEEN {low} AND {self._value(column)})"
        sign = _COMPARES.get(self._peek())
        if sign is None or negated:
            raise self.unclear()
        self.place += 1
        return f"{left} {sign} {self._value(column)}"

    def _list(self, column: str) -> list[str]:
        if not self._take("("):
            raise self.unclear()
        values = [self._value(column)]
        while self._take(","):
            values.append(self._value(column))
        if not self._take(")"):
            raise self.unclear()
        return values

    def _column(self) -> str:
        token = self._next()
        if not token.is_name:
            raise self.unclear()
        if token.name not in self.schema.names:
            raise InvalidInput(
                f"there is no column '{token.name}'",
                hint=did_you_mean(token.name, self.schema.names),
                column=token.name,
            )
        return token.name

    def _value(self, column: str) -> str:
        import pyarrow as pa

        kind = self.schema.field(column).type
        typed = self._peek() if self._peek() in {"DATE", "TIMESTAMP"} else ""
        self.place += bool(typed)
        negative = "-" if self._take("-") else ""
        token = self._next()
        if token.kind == "number" and not typed and _is_number(kind):
            return negative + token.text.rstrip("LSYDFB")
        if token.keyword in {"TRUE", "FALSE"} and pa.types.is_boolean(kind):
            return token.keyword
        if token.kind == "string" and not negative:
            return self._text(string_value(token), kind)
        raise self.unclear()

    def _text(self, value: str, kind: pa.DataType) -> str:
        import pyarrow as pa

        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return "'" + value.replace("'", "''") + "'"
        if pa.types.is_date(kind):
            return f"DATE '{parse_time(value).date().isoformat()}'"
        if pa.types.is_timestamp(kind):
            return f"TIMESTAMP '{iso(parse_time(value))}'"
        raise self.unclear()

    def _peek(self) -> str:
        return self.found[self.place].keyword if self.place < len(self.found) else ""

    def _take(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self.place += 1
        return True

    def _next(self) -> Token:
        if self.place >= len(self.found):
            raise self.unclear()
        self.place += 1
        return self.found[self.place - 1]

    def unclear(self) -> InvalidInput:
        return InvalidInput(
            f"rows can't be deleted by the condition {self.text}",
            hint="compare columns with plain values of their kind (=, <, IN, BETWEEN, IS NULL) and join these with AND, OR, NOT;"
            " or overwrite the table with the rows that stay",
        )


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
