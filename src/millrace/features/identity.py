"""What identifies a row: key columns and event times, by the same rules for every engine."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.features.type_names import type_family
from millrace.lake.types import DateStandsFor

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

DAY_US = 86_400_000_000
MICROSECOND = timedelta(microseconds=1)


def key_family(kind: pa.DataType) -> str | None:
    """What a type is as a key: two columns match only within one family. None: it can't be a key."""
    import pyarrow as pa

    return key_family_of(str(kind.value_type if pa.types.is_dictionary(kind) else kind))


def key_family_of(name: str) -> str | None:
    """The same for the name of a flat type."""
    family = type_family(name)
    return None if family == "float" else family


def is_time(kind: pa.DataType) -> bool:
    """Whether a column of this type can say when."""
    import pyarrow as pa

    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def question_us(column: pa.ChunkedArray, name: str) -> pa.Array:
    """Request times as int64 microseconds since 1970 UTC, null kept. Naive is UTC; a date is its first instant.

    Raises:
        InvalidInput: nanoseconds that would be lost.
    """
    return _as_us(column, name).combine_chunks()


def event_us(column: pa.ChunkedArray, name: str, date_stands_for: DateStandsFor) -> pa.Array:
    """Event times as int64 microseconds since 1970 UTC, null kept; a date is the end of its day unless told otherwise."""
    import pyarrow as pa
    import pyarrow.compute as pc

    microseconds = _as_us(column, name).combine_chunks()
    if pa.types.is_date(column.type) and date_stands_for == "end":
        return pc.add(microseconds, pa.scalar(DAY_US, pa.int64()))
    return microseconds


def key_column(column: pa.ChunkedArray, stored: pa.DataType, name: str) -> pa.ChunkedArray:
    """A request's key column in a form that compares with the stored type by value: one type per family.

    Raises:
        InvalidInput: a time with nanoseconds that would be lost.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    family = key_family(column.type)
    if family == "null":
        return column.cast(stored)
    if family == "integer" and not pa.types.is_uint64(column.type):
        return column.cast(pa.int64())
    if family == "text":
        return column.cast(pa.large_string())
    if family == "date":
        return column.cast(pa.date32())
    if family == "timestamp":
        return _as_us(column, name)
    return column


def same_decimals(column: pa.ChunkedArray, stored: pa.Decimal128Type) -> pa.ChunkedArray:
    """Decimals in the stored type, null where that can't hold them exactly: such a key is stored nowhere."""
    import pyarrow as pa

    coded = column.combine_chunks().dictionary_encode()
    return pa.chunked_array(
        [pa.array([_exact(value, stored) for value in coded.dictionary], stored).take(coded.indices)]
    )


def _exact(value: pa.Scalar, stored: pa.Decimal128Type) -> object:
    import pyarrow as pa

    try:
        return value.cast(stored).as_py()
    except pa.ArrowInvalid:  # more digits than the stored type has
        return None


def group_ids(columns: list[pa.ChunkedArray]) -> np.ndarray:
    """One int64 per row, equal exactly where all columns are equal; no column has nulls."""
    import numpy as np
    import pyarrow as pa

    ids = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        encoded = column.combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        _, ids = np.unique(ids * max(len(encoded.dictionary), 1) + codes, return_inverse=True)
    return ids.astype(np.int64)


def _as_us(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_date32(kind):
        return column.cast(pa.timestamp("us")).cast(pa.int64())
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    try:
        return column.cast(pa.timestamp("us", zone)).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InvalidInput(
            f"column '{name}' has times that microseconds can't hold",
            hint="round its times to microseconds first",
            column=name,
        ) from error
