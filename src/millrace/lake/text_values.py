"""Text as values: which type a column of text holds, and its values in that type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from millrace.lake.sql_types import TIMESTAMP, type_name

# What stands for "no value" in a column that is not text; in a text column only an empty field does.
NULLS = ("", "NA", "N/A", "NULL", "null", "NaN", "nan", "None")

_TIME = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?"
_INFERRED = (
    (pa.int64(), r"^-?(0|[1-9]\d*)$"),
    (pa.float64(), r"^-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"),
    (pa.bool_(), r"^(?i:true|false)$"),
    (pa.date32(), r"^\d{4}-\d{2}-\d{2}$"),
    (TIMESTAMP, rf"^{_TIME}$"),
)
_NUMBER = r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_READ = (
    (kinds.is_integer, r"^-?\d+$", "a whole number"),
    (kinds.is_floating, rf"^({_NUMBER}|-?inf(inity)?)$", "a number"),
    (kinds.is_decimal, rf"^{_NUMBER}$", "a number"),
    (kinds.is_boolean, r"^(?i:true|false|1|0)$", "true or false"),
    (kinds.is_date, r"^\d{4}-\d{2}-\d{2}$", "a date like 2024-01-31"),
    (kinds.is_timestamp, rf"^(\d{{4}}-\d{{2}}-\d{{2}}|{_TIME})$", "a time like 2024-01-31T06:00:00Z"),
)


@dataclass(frozen=True, slots=True)
class BadValue:
    """The first value that is not of the type: its row from 0, the value, and what was expected, in words."""

    row: int
    value: str
    expected: str


def infer(text: pa.ChunkedArray, among: Sequence[pa.DataType] | None = None) -> pa.DataType:
    """The type that every value of a text column has; text where there is none, or no value.

    Numbers with leading zeros, and whole numbers that fit no bigint, are codes: they stay text.
    """
    values = _cleaned(text)
    if values.null_count == len(values):
        return pa.string()
    for arrow, pattern in _INFERRED:
        if among is not None and arrow not in among:
            continue
        if pc.all(pc.match_substring_regex(values, pattern)).as_py() and _cast(values, arrow) is not None:
            return arrow
        if arrow == pa.int64() and pc.all(pc.match_substring_regex(values, r"^-?\d+$")).as_py():
            return pa.string()
    return pa.string()


def convert(text: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray | BadValue:
    """The values in a type, or the first that is not of it. Times without a zone are UTC; a date is its first instant."""
    if kinds.is_string(to):
        return text
    for holds, pattern, expected in _READ:
        if holds(to):
            return _converted(_cleaned(text), to, pattern, f"{expected} ({type_name(to)})")
    return BadValue(0, "", f"a type that text can be read as, not {type_name(to)}")


def _converted(values: pa.ChunkedArray, to: pa.DataType, pattern: str, expected: str) -> pa.ChunkedArray | BadValue:
    wrong = pc.index(pc.match_substring_regex(values, pattern), pa.scalar(False)).as_py()
    if wrong < 0:
        done = _cast(values, to)
        if done is not None:
            return done
        wrong = _first_that_fails(values, to)
    return BadValue(wrong, values[wrong].as_py(), expected)


def _first_that_fails(values: pa.ChunkedArray, to: pa.DataType) -> int:
    good, bad = 0, len(values)
    while bad - good > 1:
        middle = (good + bad) // 2
        if _cast(values.slice(good, middle - good), to) is None:
            bad = middle
        else:
            good = middle
    return good


def _cleaned(text: pa.ChunkedArray) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(trimmed, pa.array(NULLS)), pa.scalar(None, pa.string()), trimmed)


def _cast(values: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray | None:
    try:
        return _to_times(values) if kinds.is_timestamp(to) else values.cast(to)
    except pa.ArrowInvalid:
        return None


def _to_times(values: pa.ChunkedArray) -> pa.ChunkedArray:
    has_zone = pc.fill_null(pc.match_substring_regex(values, r":\d{2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})$"), False)
    nothing = pa.scalar(None, pa.string())
    with_zone = pc.if_else(has_zone, values, nothing).cast(TIMESTAMP)
    without = pc.if_else(has_zone, nothing, values).cast(pa.timestamp("us")).cast(TIMESTAMP)
    return pc.coalesce(with_zone, without)
