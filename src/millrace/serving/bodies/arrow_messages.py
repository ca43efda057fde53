"""How large an Arrow stream becomes when it is unpacked, without unpacking it.

Buffers may be compressed, each with its unpacked length in front; nothing bounds that length but whoever reads it. The
layout: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_CONTINUATION = 0xFFFFFFFF
_BUFFER, _LENGTH = (
    struct.Struct("<qq"),
    struct.Struct("<q"),
)  # offset and length; the unpacked length, in front of a buffer
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
        return sum(_batch_bytes(stream, metadata, body) for metadata, body in _messages(stream))
    except struct.error as error:
        raise ValueError("it ends within a message") from error


def first_message(stream: bytes) -> bytes:
    """The message that a stream begins with, which is its schema; one without a body.

    Raises:
        ValueError: no Arrow stream.
    """
    found = next(_messages(stream), None)
    if found is None:
        raise ValueError("it is empty")
    _, end = found
    return stream[:end]


def _messages(stream: bytes) -> Iterator[tuple[bytes, int]]:
    """Each message's metadata, and where its body is.

    What is in the metadata is looked for there alone: messages that point at one table would each be read in its length.
    """
    at = 0
    while at + 4 <= len(stream):
        (size,) = struct.unpack_from("<I", stream, at)
        at += 4
        if size == _CONTINUATION:
            (size,) = struct.unpack_from("<I", stream, at)
            at += 4
        if size == 0:
            return
        metadata, body = stream[at : at + size], at + size
        yield metadata, body
        place = _field(metadata, _u32(metadata, 0), _BODY_LENGTH)
        length = struct.unpack_from("<q", metadata, place)[0] if place else 0
        if length < 0:
            raise ValueError("a message is shorter than nothing")
        at = body + length


def _batch_bytes(stream: bytes, metadata: bytes, body: int) -> int:
    message = _u32(metadata, 0)
    place = _field(metadata, message, _HEADER_TYPE)
    kind = metadata[place] if 0 < place < len(metadata) else 0
    if kind not in (_DICTIONARY, _RECORDS):
        return 0
    batch = _table(metadata, message, _HEADER)
    if kind == _DICTIONARY:
        batch = _table(metadata, batch, _DICTIONARY_DATA)
    if not _field(metadata, batch, _COMPRESSION):
        return 0
    vector = _table(metadata, batch, _BUFFERS)
    first, count = vector + 4, _u32(metadata, vector)
    if first + _BUFFER.size * count > len(metadata):
        raise ValueError("a message has more buffers than it has room for")
    buffers = _BUFFER.iter_unpack(memoryview(metadata)[first : first + _BUFFER.size * count])
    return sum(_buffer_bytes(stream, body + offset) for offset, length in buffers if length >= _LENGTH.size)


def _buffer_bytes(stream: bytes, place: int) -> int:
    (unpacked,) = _LENGTH.unpack_from(stream, place)
    return max(int(unpacked), 0)  # -1: this one is not compressed


def _table(metadata: bytes, table: int, field: int) -> int:
    place = _field(metadata, table, field)
    if not place:
        raise ValueError("a message lacks a part")
    return place + _u32(metadata, place)


def _field(metadata: bytes, table: int, field: int) -> int:
    """Where a field of a table is; 0 where it has none."""
    (back,) = struct.unpack_from("<i", metadata, table)
    (size,) = struct.unpack_from("<H", metadata, table - back)
    slot = 4 + 2 * field
    if slot >= size:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, table - back + slot)
    return table + offset if offset else 0


def _u32(metadata: bytes, place: int) -> int:
    value: int = struct.unpack_from("<I", metadata, place)[0]
    return value
