"""Arrow streams of numbers and nothing else, without pyarrow: it takes 20 MB of a process, and most of a small body's time.

What is read here is what writers commonly write, right to the last byte: one batch of floats and whole numbers as they are.
All else, and whatever is wrong, is left to pyarrow, which says what it is. The layout:
https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from operator import add, ge

import numpy as np

from millrace.serving.bodies.flatbuffers import Table, check
from millrace.serving.bodies.number_rows import Columns, Layout, Nulls, NumberRows, nulls_of

_PREFIX = struct.Struct("<II")  # of a message: a mark, and how long its metadata is
_MARK = 0xFFFFFFFF
_END = _PREFIX.pack(_MARK, 0)
_ALIGNED = 8
_LONGEST = 64 << 10  # bytes of a message's metadata
_MOST_PAIRS = 64
_KNOWN = 16  # what is known of 64 KB may take a multiple
_V5 = 4
# Fields of the flatbuffers tables by their number in the schema, and values of enumerations.
_VERSION, _HEADER_TYPE, _HEADER, _BODY_LENGTH, _MESSAGE_METADATA = range(5)
_SCHEMA, _RECORDS = 1, 3
_ENDIANNESS, _FIELDS, _SCHEMA_METADATA, _FEATURES = range(4)
_NAME, _NULLABLE, _TYPE_TYPE, _TYPE, _DICTIONARY, _CHILDREN, _FIELD_METADATA = range(7)
_INT, _FLOAT = 2, 3
_LENGTH, _NODES, _BUFFERS, _COMPRESSION, _VARIADIC = range(5)
# By a type's number and its fields: bits and whether it is signed; precision.
_KINDS = {(_INT, 8 * width, sign): np.dtype(f"<{'ui'[sign]}{width}") for width in (1, 2, 4, 8) for sign in (0, 1)} | {
    (_FLOAT, 1, 0): np.dtype("<f4"),
    (_FLOAT, 2, 0): np.dtype("<f8"),
}


def read_numbers(raw: bytes, start: int, most_bytes: int) -> NumberRows | None:
    """The rows of the stream from `start` on.

    Returns:
        None for a stream that is left to pyarrow; such are all whose values take more than `most_bytes`, too.
    """
    try:
        schema = _metadata(raw, start)
        batch = _metadata(raw, start + _PREFIX.size + len(schema))
    except (ValueError, struct.error):
        return None
    layout, body = _layout(schema, batch), start + 2 * _PREFIX.size + len(schema) + len(batch)
    # Each value counts for itself: several columns may be the same bytes.
    if layout is None or layout.rows * layout.columns.width > most_bytes or not _ends(raw, body + layout.size):
        return None
    nulls = nulls_of(raw, body, layout)
    return None if nulls is None else NumberRows(raw, body, layout, nulls)


def _metadata(raw: bytes, at: int) -> bytes:
    mark, size = _PREFIX.unpack_from(raw, at)
    check(mark == _MARK and size % _ALIGNED == 0 and size <= _LONGEST)
    at += _PREFIX.size
    return raw[at : at + size]


def _ends(raw: bytes, at: int) -> bool:
    return at == len(raw) or raw[at : at + len(_END)] == _END


@lru_cache(maxsize=_KNOWN)
def _layout(schema: bytes, batch: bytes) -> Layout | None:
    """What is where; None where it does not fit. A caller sends the same again and again."""
    columns = _columns(schema)
    try:
        return None if columns is None else _read_batch(batch, columns)
    except (ValueError, struct.error):
        return None


@lru_cache(maxsize=_KNOWN)
def _columns(schema: bytes) -> Columns | None:
    try:
        return _read_schema(schema)
    except (ValueError, struct.error):
        return None


def _read_schema(schema: bytes) -> Columns:
    table, size = _header(schema, _SCHEMA)
    check(size == 0 and table.number(_ENDIANNESS, "h") == 0 and not table.has(_FEATURES))
    if table.has(_SCHEMA_METADATA):
        _check_pairs(table)
    columns: dict[str, np.dtype] = {}
    room = len(schema)  # names may be the same bytes
    for field in table.tables(_FIELDS):
        name = field.text(_NAME)
        room -= len(name)
        check(name not in columns and room >= 0 and "\0" not in name)  # pyarrow reads up to there in some places
        columns[name] = _kind(field)
    return Columns(tuple(columns), tuple(columns.values()), sum(kind.itemsize for kind in columns.values()))


def _check_pairs(table: Table) -> None:
    check(table.count(_SCHEMA_METADATA) <= _MOST_PAIRS)
    for pair in table.tables(_SCHEMA_METADATA):
        for key_or_value in (0, 1):
            pair.text(key_or_value)


def _kind(field: Table) -> np.dtype:
    # Metadata may make another type of it, an extension.
    check(not field.has(_DICTIONARY) and not field.has(_FIELD_METADATA) and field.count(_CHILDREN) == 0)
    field.number(_NULLABLE, "B")  # it means nothing, but has to be there
    number, kind = field.number(_TYPE_TYPE, "B"), field.table(_TYPE)
    facts = (kind.number(0, "i"), kind.number(1, "B")) if number == _INT else (kind.number(0, "h"), 0)
    found = _KINDS.get((number, *facts))
    if found is None:
        raise ValueError("no number")
    return found


def _read_batch(batch: bytes, columns: Columns) -> Layout:
    table, size = _header(batch, _RECORDS)
    rows, count = table.number(_LENGTH, "q"), len(columns.names)
    nodes, buffers = table.numbers(_NODES, 2), table.numbers(_BUFFERS, 2)
    check(rows > 0 and count > 0 and not table.has(_COMPRESSION) and not table.has(_VARIADIC))
    check(len(nodes) == 2 * count and len(buffers) == 4 * count and nodes[::2].count(rows) == count)
    values = buffers[2::4]
    check(_hold(values, buffers[3::4], [rows * kind.itemsize for kind in columns.kinds], size))
    nulls = [Nulls(place, nulls, buffers[4 * place]) for place, nulls in enumerate(nodes[1::2]) if nulls]
    if nulls:
        lengths = [buffers[4 * each.place + 1] for each in nulls]
        check(all(0 < each.missing <= rows for each in nulls))
        check(_hold([each.validity for each in nulls], lengths, [(rows + 7) // 8] * len(nulls), size))
    return Layout(columns, rows, values, tuple(nulls), size, _step(columns, values))


def _hold(offsets: Sequence[int], lengths: Sequence[int], needed: Sequence[int], size: int) -> bool:
    """Whether buffers have the bytes that they need, and are within the `size` of all."""
    aligned = min(offsets) >= 0 and not any(map((_ALIGNED - 1).__and__, offsets))
    return aligned and all(map(ge, lengths, needed)) and max(map(add, offsets, lengths)) <= size


def _step(columns: Columns, values: Sequence[int]) -> int:
    step = values[1] - values[0] if len(values) > 1 else columns.width
    even = step > 0 and values == tuple(range(values[0], values[0] + step * len(values), step))
    return step if even and len(set(columns.kinds)) == 1 else 0


def _header(metadata: bytes, kind: int) -> tuple[Table, int]:
    """The table that a message is about, and how long its body is."""
    message = Table.root(metadata)
    check(message.number(_VERSION, "h") == _V5 and message.number(_HEADER_TYPE, "B") == kind)
    check(not message.has(_MESSAGE_METADATA))
    return message.table(_HEADER), message.number(_BODY_LENGTH, "q")
