"""A JSON lines file: one object a line, UTF-8. Every complaint names the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.types as kinds

from millrace.core.errors import InvalidInput
from millrace.lake.sql_types import TIMESTAMP, type_name
from millrace.lake.text_values import BadValue, convert, infer

_Values = Sequence[Any]
_SHOWN = 60


class JsonLinesFile:
    """The content of a JSON lines file: a missing field is null, columns come in the order of their first use.

    Args:
        data: the file's bytes, decompressed; a byte order mark is skipped.
        path: how messages call the file.

    Raises:
        InvalidInput: a line that is not one JSON object, or no line at all.
    """

    typed = False

    def __init__(self, data: bytes, path: str) -> None:
        self._path = path
        self._lines, self._rows = self._parse(data.removeprefix(b"\xef\xbb\xbf"))
        self.names = list(dict.fromkeys(name for row in self._rows for name in row))

    def table(self, types: Mapping[str, pa.DataType]) -> pa.Table:
        """The rows, in the given types; columns without one get the type that all their values have.

        Raises:
            InvalidInput: a value that is not of its column's type, or a column with values of different kinds.
        """
        return pa.table({name: self._column(name, types.get(name)) for name in self.names})

    def _parse(self, data: bytes) -> tuple[list[int], list[dict[str, Any]]]:
        lines, rows = [], []
        for number, line in enumerate(data.split(b"\n"), start=1):
            if line.strip():
                lines.append(number)
                rows.append(self._object(number, line))
        if not rows:
            raise InvalidInput(f"{self._path} is empty", hint="give one JSON object a line")
        return lines, rows

    def _object(self, number: int, line: bytes) -> dict[str, Any]:
        hint = "give one JSON object a line, with no commas between lines and no brackets around them"
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(
                f"{self._path}, line {number}: not JSON ({error.msg})", hint=hint, line=number
            ) from error
        if not isinstance(row, dict):
            raise InvalidInput(f"{self._path}, line {number}: not a JSON object", hint=hint, line=number)
        return row

    def _column(self, name: str, to: pa.DataType | None) -> pa.ChunkedArray:
        values = [row.get(name) for row in self._rows]
        done = _typed(values, to) if to is not None else _inferred(values)
        if isinstance(done, BadValue):
            line = self._lines[done.row]
            raise InvalidInput(
                f"{self._path}, line {line}: {done.value} in column '{name}' is not {done.expected}",
                hint="correct the value, or choose another type for the column",
                line=line,
                column=name,
            )
        return done


def _inferred(values: _Values) -> pa.ChunkedArray | BadValue:
    for kind, words, arrow in _KINDS:
        first = next((value for value in values if value is not None), "")
        if kind(first):
            wrong = next((i for i, value in enumerate(values) if value is not None and not kind(value)), None)
            if wrong is not None:
                return BadValue(wrong, _shown(values[wrong]), f"{words}, as in the lines before")
            return _typed(values, arrow or _narrowest(values))
    return _built(values, None)


def _narrowest(values: _Values) -> pa.DataType:
    given = [value for value in values if value is not None]
    if given and not isinstance(given[0], str):
        return pa.int64() if all(isinstance(value, int) for value in given) else pa.float64()
    return infer(pa.chunked_array([pa.array(given, pa.string())]), among=(pa.date32(), TIMESTAMP))


def _typed(values: _Values, to: pa.DataType) -> pa.ChunkedArray | BadValue:
    for holds, accepts, words in _ACCEPTED:
        if holds(to):
            wrong = next((i for i, value in enumerate(values) if value is not None and not accepts(value)), None)
            if wrong is not None:
                return BadValue(wrong, _shown(values[wrong]), f"{words} ({type_name(to)})")
    if kinds.is_decimal(to) or kinds.is_temporal(to):
        # A JSON number's shortest decimal form is what stood in the file.
        texts = [value if value is None or isinstance(value, str) else repr(value) for value in values]
        return convert(pa.chunked_array([pa.array(texts, pa.string())]), to)
    return _built(values, to)


def _built(values: _Values, to: pa.DataType | None) -> pa.ChunkedArray | BadValue:
    try:
        return pa.chunked_array([pa.array(values, to)])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        wrong = next((i for i in range(len(values)) if not _builds(values[: i + 1], to)), 0)
        return BadValue(wrong, _shown(values[wrong]), type_name(to) if to is not None else "of the kind before it")


def _builds(values: _Values, to: pa.DataType | None) -> bool:
    try:
        pa.array(values[-1:] if to is not None else values, to)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return False
    return True


def _shown(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


_Kind = Callable[[object], bool]
_KINDS: tuple[tuple[_Kind, str, pa.DataType | None], ...] = (
    (_is_bool, "true or false", pa.bool_()),
    (_is_number, "a number", None),
    (_is_text, "text", None),
)
_ACCEPTED: tuple[tuple[Callable[[pa.DataType], bool], _Kind, str], ...] = (
    (kinds.is_boolean, _is_bool, "true or false"),
    (kinds.is_integer, _is_whole, "a whole number"),
    (kinds.is_floating, _is_number, "a number"),
    (kinds.is_decimal, lambda value: _is_number(value) or _is_text(value), "a number"),
    (kinds.is_string, _is_text, "text"),
    (kinds.is_date, _is_text, "a date like 2024-01-31"),
    (kinds.is_timestamp, _is_text, "a time like 2024-01-31T06:00:00Z"),
)
