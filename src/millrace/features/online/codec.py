"""Rows as bytes: packed from whole columns at once, restored exactly. Requests read them by column (`seen.py`).

A row is a bitmap of what is not null (the event time first, then the columns), the event time, one field of fixed size
for each column, and then the contents of those that have no fixed size (their field is the length). Little-endian,
without padding. The rows of a key follow each other, newest first.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from millrace.core.errors import InvalidInput
from millrace.features.types import OnlineRow
from millrace.lake.types import Version

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a column without a zone
_DAY_ZERO = date(1970, 1, 1).toordinal()
_EXACT = Context(prec=100)

_Read = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Field:
    """How a column of one type is stored.

    Attributes:
        code: the field's `struct` code; `I`, the length, for what has no fixed size.
        dtype: the same for numpy.
        read: from what `struct` gives (or the content's bytes) to the value; None: it is the value.
        sized: the content follows after the fields.
    """

    code: str
    dtype: str
    read: _Read | None = None
    sized: bool = False

    @property
    def is_number(self) -> bool:
        """Whether numpy has the values themselves, as numbers or booleans."""
        return not self.sized and self.read is None


class RowCodec:
    """Packs and unpacks the rows of a table's keys.

    Args:
        types: column to Arrow type name, in storage order; without keys and time.

    Raises:
        InvalidInput: a type that can't be stored (nested ones).
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self.columns = tuple(types)
        self._fields = [field_of(kind) for kind in types.values()]
        self._width = (len(types) + 8) // 8
        self._struct = struct.Struct(f"<{self._width}sq" + "".join(field.code for field in self._fields))
        self._full = ((1 << (len(types) + 1)) - 1).to_bytes(self._width, "little")
        self._sized = [place for place, field in enumerate(self._fields) if field.sized]
        self._read = [(place, field.read) for place, field in enumerate(self._fields) if field.read]

    def unpack(self, packed: bytes, version: Version) -> list[OnlineRow]:
        """The rows of one key, with the types of their columns."""
        rows, at, end = [], 0, len(packed)
        while at < end:
            fields = self._struct.unpack_from(packed, at)
            at += self._struct.size
            values = list(fields[2:])
            for place in self._sized:
                begin, at = at, at + values[place]
                values[place] = packed[begin:at]
            ts_us = self._restore(fields[0], fields[1], values)
            rows.append(OnlineRow(ts_us, dict(zip(self.columns, values, strict=True)), version))
        return rows

    def pack(self, rows: pa.Table, times: Any, starts: Any) -> list[bytes]:
        """The rows of each key as one blob.

        Args:
            rows: the columns, ordered by key and newest first; others are not read.
            times: event times in microseconds, a numpy array; None for a table without time.
            starts: the place of each key's first row, a numpy array.
        """
        import numpy as np

        fixed = self._fixed(rows, times)
        if self._sized:
            return slices(self._joined(rows, fixed), starts)
        return _cut(fixed.tobytes(), np.arange(len(rows) + 1) * fixed.dtype.itemsize, starts)

    def _restore(self, bits: bytes, ts_us: int, values: list[object]) -> int | None:
        """Put nulls and values of their own types into the fields; the event time."""
        valid = int.from_bytes(bits, "little")
        for place, read in self._read:
            if valid >> (place + 1) & 1:
                values[place] = read(values[place])
        if bits != self._full:
            for place in range(len(values)):
                if not valid >> (place + 1) & 1:
                    values[place] = None
        return ts_us if valid & 1 else None

    def _fixed(self, rows: pa.Table, times: Any) -> Any:
        import numpy as np

        dtypes = [(f"c{place}", field.dtype) for place, field in enumerate(self._fields)]
        fixed = np.zeros(len(rows), dtype=[("bits", "u1", (self._width,)), ("ts", "<i8"), *dtypes])
        valid = np.ones((len(rows), len(self.columns) + 1), dtype=bool)
        if times is None:
            valid[:, 0] = False
        else:
            fixed["ts"] = times
        for place, name in enumerate(self.columns):
            column = _whole(rows.column(name))
            if column.null_count:
                valid[:, place + 1] = column.is_valid().to_numpy(zero_copy_only=False)
            fixed[f"c{place}"] = _stored(column)
        fixed["bits"] = np.packbits(valid, axis=1, bitorder="little")
        return fixed

    def _joined(self, rows: pa.Table, fixed: Any) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        width = fixed.dtype.itemsize
        head = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(fixed.tobytes())])
        contents = [_content(_whole(rows.column(self.columns[place]))) for place in self._sized]
        return pc.binary_join_element_wise(head.cast(pa.large_binary()), *contents, pa.scalar(b"", pa.large_binary()))


def can_store(kind: str) -> bool:
    """Whether columns of this Arrow type can be in the online store."""
    return kind in _FIELDS or kind.startswith(("decimal128(", "decimal256(", "timestamp["))


def field_of(kind: str) -> Field:
    """How a column of that Arrow type is stored.

    Raises:
        InvalidInput: it can't be.
    """
    if not can_store(kind):
        raise InvalidInput(f"columns of type {kind} can't be in the online store", hint="leave the column out")
    if kind.startswith("timestamp["):
        return Field("q", "<i8", _instant if "tz=" in kind else _naive)
    if kind.startswith("decimal"):
        size, scale = (16 if kind.startswith("decimal128") else 32), int(kind[:-1].rpartition(",")[2])
        return Field(f"{size}s", f"V{size}", partial(_decimal, scale))
    return _FIELDS[kind]


def slices(values: pa.Array, starts: Any = None) -> list[bytes]:
    """The elements of a large binary array without nulls, those from one start to the next joined. Faster than `to_pylist`."""
    import numpy as np

    _, offsets, data = values.buffers()
    places = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    return _cut(
        b"" if data is None else data.to_pybytes(), places, np.arange(len(values)) if starts is None else starts
    )


def _cut(data: bytes, places: Any, starts: Any) -> list[bytes]:
    edges = [*places[starts].tolist(), int(places[-1])]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def _whole(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _stored(column: pa.Array) -> Any:
    """The fields of a column as numpy has them; what is null is zero."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_null(kind):
        return np.zeros(len(column), dtype=bool)
    if pa.types.is_decimal(kind):
        size = kind.byte_width
        raw = np.frombuffer(column.buffers()[1], f"V{size}")[column.offset : column.offset + len(column)].copy()
        raw[~column.is_valid().to_numpy(zero_copy_only=False)] = bytes(size)
        return raw
    if _is_sized(kind):
        column = pc.binary_length(column)
    elif pa.types.is_date(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
    return pc.fill_null(column, pa.scalar(0).cast(column.type)).to_numpy(zero_copy_only=False)


def _is_sized(kind: pa.DataType) -> bool:
    return field_of(str(kind)).sized


def _content(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.fill_null(column.cast(pa.large_binary()), b"")


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _naive(microseconds: int) -> datetime:
    return _NAIVE_EPOCH + timedelta(microseconds=microseconds)


def _day(days: int) -> date:
    return date.fromordinal(days + _DAY_ZERO)


def _decimal(scale: int, raw: bytes) -> Decimal:
    return _EXACT.scaleb(Decimal(int.from_bytes(raw, "little", signed=True)), -scale)


def _text(content: bytes) -> str:
    return content.decode()


_TEXT, _BYTES = Field("I", "<u4", _text, sized=True), Field("I", "<u4", sized=True)
_FIELDS: dict[str, Field] = {
    "double": Field("d", "<f8"),
    "float": Field("f", "<f4"),
    "halffloat": Field("e", "<f2"),
    "int8": Field("b", "i1"),
    "int16": Field("h", "<i2"),
    "int32": Field("i", "<i4"),
    "int64": Field("q", "<i8"),
    "uint8": Field("B", "u1"),
    "uint16": Field("H", "<u2"),
    "uint32": Field("I", "<u4"),
    "uint64": Field("Q", "<u8"),
    "bool": Field("?", "?"),
    "date32[day]": Field("i", "<i4", _day),
    "string": _TEXT,
    "large_string": _TEXT,
    "binary": _BYTES,
    "large_binary": _BYTES,
    "null": Field("?", "?"),
}
