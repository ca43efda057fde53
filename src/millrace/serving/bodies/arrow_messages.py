"""How large an Arrow stream becomes when it is unpacked, without unpacking it.

Buffers may be compressed, each with its unpacked length in front; nothing bounds that length but whoever reads it. The
layout: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_CONTINUATION = 0xFFFFFFFF
# Fields of the flatbuffers tables Message, DictionaryBatch and RecordBatch, by their number in the schema.
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
_DICTIONARY_DATA = 1
_BUFFERS, _COMPRESSION = 2, 3
_DICTIONARY, _RECORDS = 2, 3


def unpacked_bytes(stream: bytes) -> int:
    """The sum of what compressed buffers say of their length; 0 where none is compressed.

    Raises:
        ValueError: no Arrow stream.
    """
    try:
        return sum(_batch_bytes(stream, message, body) for message, body in _messages(stream))
    except struct.error as error:
        raise ValueError("it ends within a message") from error


def _messages(stream: bytes) -> Iterator[tuple[int, int]]:
    """Where each message's table is, and its body."""
    at = 0
    while at + 4 <= len(stream):
        (size,) = struct.unpack_from("<I", stream, at)
        at += 4
        if size == _CONTINUATION:
            (size,) = struct.unpack_from("<I", stream, at)
            at += 4
        if size == 0:
            return
        message, body = at + _u32(stream, at), at + size
        yield message, body
        place = _field(stream, message, _BODY_LENGTH)
        length = struct.unpack_from("<q", stream, place)[0] if place else 0
        if length < 0:
            raise ValueError("a message is shorter than nothing")
        at = body + length


def _batch_bytes(stream: bytes, message: int, body: int) -> int:
    place = _field(stream, message, _HEADER_TYPE)
    kind = stream[place] if 0 < place < len(stream) else 0
    if kind not in (_DICTIONARY, _RECORDS):
        return 0
    batch = _table(stream, message, _HEADER)
    if kind == _DICTIONARY:
        batch = _table(stream, batch, _DICTIONARY_DATA)
    if not _field(stream, batch, _COMPRESSION):
        return 0
    vector = _table(stream, batch, _BUFFERS)
    return sum(_buffer_bytes(stream, vector + 4 + 16 * each, body) for each in range(_u32(stream, vector)))


def _buffer_bytes(stream: bytes, place: int, body: int) -> int:
    offset, length = struct.unpack_from("<qq", stream, place)
    if length < 8:  # noqa: PLR2004 - no room for a length: an empty buffer
        return 0
    (unpacked,) = struct.unpack_from("<q", stream, body + offset)
    return max(int(unpacked), 0)  # -1: this one is not compressed


def _table(stream: bytes, table: int, field: int) -> int:
    place = _field(stream, table, field)
    if not place:
        raise ValueError("a message lacks a part")
    return place + _u32(stream, place)


def _field(stream: bytes, table: int, field: int) -> int:
    """Where a field of a table is; 0 where it has none."""
    (back,) = struct.unpack_from("<i", stream, table)
    (size,) = struct.unpack_from("<H", stream, table - back)
    slot = 4 + 2 * field
    if slot >= size:
        return 0
    (offset,) = struct.unpack_from("<H", stream, table - back + slot)
    return table + offset if offset else 0


def _u32(stream: bytes, place: int) -> int:
    value: int = struct.unpack_from("<I", stream, place)[0]
    return value
