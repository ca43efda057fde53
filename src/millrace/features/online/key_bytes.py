"""Keys as bytes: injective, typed, and the same whether one key is written or a whole column of them.

Each part is a type mark and its content: eight bytes in the order of the numbers for whole numbers, dates and times, a
length and the bytes for all that has no fixed size. So ('1', '11') and ('11', '1') differ, and so do 1 and '1'.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.features.port import Key

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST_KEY = 400  # bytes; a longer key is known by its SHA-256. LMDB takes 511 with a prefix.

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
_WHOLE = struct.Struct(">BQ").pack
_TEXT = struct.Struct(">BI").pack
_DAY_ZERO = date(1970, 1, 1).toordinal()


def encode_key(key: Key) -> bytes | None:
    """Bytes that are equal exactly for equal keys of equal types; None where a part is null.

    Raises:
        InvalidInput: a part of a type that can't be a key.
    """
    (encoded,) = encode_parts([[part(value)] for value in key])
    return encoded


def encode_parts(columns: Sequence[Sequence[bytes | None]]) -> Sequence[bytes | None]:
    """`encode_key` of each key, from its parts column by column; None where one is null."""
    keys = columns[0]
    if len(columns) > 1:
        keys = [None if None in parts else b"".join(parts) for parts in zip(*columns, strict=True)]
    if max(map(len, filter(None, keys)), default=0) <= LONGEST_KEY:
        return keys
    return [_hashed(key) if key is not None and len(key) > LONGEST_KEY else key for key in keys]


def part(value: object) -> bytes | None:
    """A part of a key as it is in the bytes; None for null.

    Raises:
        InvalidInput: a type that can't be in a key.
    """
    return None if value is None else _part(value)


def whole_parts(values: Sequence[int]) -> Sequence[bytes]:
    """`part` of whole numbers."""
    write, mark, lowest = _WHOLE, ord("i"), _LOWEST
    try:
        return [write(mark, value - lowest) for value in values]
    except struct.error:  # one is beyond 64 bits
        return [_integer(value) for value in values]


def text_parts(values: Sequence[str]) -> Sequence[bytes]:
    """`part` of texts."""
    write, mark = _TEXT, ord("s")
    contents = [value.encode("utf-8", "surrogatepass") for value in values]
    return [write(mark, len(content)) + content for content in contents]


def encode_keys(columns: Sequence[pa.ChunkedArray]) -> pa.Array:
    """The keys of whole columns as large binary, each as `encode_key` writes it. No column has nulls.

    Raises:
        InvalidInput: a column of a type that can't be a key.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [_column(column) for column in columns]
    whole = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))
    long = pc.greater(pc.binary_length(whole), LONGEST_KEY)
    if not pc.any(long).as_py():
        return whole
    hashes = [_hashed(key) for key in whole.filter(long).to_pylist()]
    return pc.replace_with_mask(whole, long, pa.array(hashes, pa.large_binary()))


def is_whole(kind: pa.DataType) -> bool:
    """Whether keys of this one column are in the order of their numbers: whole numbers that an int64 holds."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) and not pa.types.is_uint64(kind))


def _hashed(encoded: bytes) -> bytes:
    return b"#" + hashlib.sha256(encoded).digest()


def _part(value: object) -> bytes:
    exact = _PARTS.get(type(value))
    if exact is not None:
        return exact(value)
    # In this order: a boolean is an int to Python, a datetime is a date.
    for kind, write in _PARTS.items():
        if isinstance(value, kind):
            return write(value)
    raise InvalidInput(
        f"a {type(value).__name__} can't be a key",
        hint="use whole numbers, text, booleans, dates, times, decimals or bytes",
    )


def _sized(mark: bytes, content: bytes) -> bytes:
    return mark + len(content).to_bytes(4, "big") + content


def _number(mark: bytes, value: int) -> bytes:
    return mark + (value - _LOWEST).to_bytes(8, "big")


def _integer(value: int) -> bytes:
    if _LOWEST <= value <= _HIGHEST:
        return _number(b"i", value)
    return _sized(b"I", str(value).encode())


def _plain(value: Decimal) -> bytes:
    """The same text for equal decimals of different scales."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return b"0" if text == "-0" else text.encode()


_PARTS: dict[type, Callable[[Any], bytes]] = {
    str: lambda value: _sized(b"s", value.encode("utf-8", "surrogatepass")),
    bool: lambda value: b"b1" if value else b"b0",
    int: _integer,
    datetime: lambda value: _number(b"t", epoch_us(value)),
    date: lambda value: _number(b"d", value.toordinal() - _DAY_ZERO),
    Decimal: lambda value: _sized(b"n", _plain(value)),
    bytes: lambda value: _sized(b"y", value),
}


def _column(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    kind = column.type
    column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], kind)
    if is_whole(kind):
        return _marked(column.cast(pa.int64()), b"i")
    if pa.types.is_date(kind):
        return _marked(column.cast(pa.date32()).cast(pa.int32()), b"d")
    if pa.types.is_timestamp(kind):
        return _marked(column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64()), b"t")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _with_sizes(column.cast(pa.large_binary()), b"s")
    return pa.array([_part(value) for value in column.to_pylist()], pa.large_binary())


def _marked(numbers: pa.Array, mark: bytes) -> pa.Array:
    import numpy as np

    keys = np.empty(len(numbers), dtype=[("mark", "u1"), ("number", ">u8")])
    keys["mark"] = mark[0]
    keys["number"] = numbers.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)
    return _fixed(keys)


def _fixed(rows: Any) -> pa.Array:
    """A structured array's elements as large binary."""
    import pyarrow as pa

    kind = pa.binary(rows.dtype.itemsize)
    made = pa.FixedSizeBinaryArray.from_buffers(kind, len(rows), [None, pa.py_buffer(rows.tobytes())])
    return made.cast(pa.large_binary())


def _with_sizes(column: pa.Array, mark: bytes) -> pa.Array:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    sizes = np.empty(len(column), dtype=[("mark", "u1"), ("size", ">u4")])
    sizes["mark"] = mark[0]
    sizes["size"] = pc.binary_length(column).to_numpy(zero_copy_only=False)
    return pc.binary_join_element_wise(_fixed(sizes), column, pa.scalar(b"", pa.large_binary()))
