"""How large an Arrow stream becomes when it is unpacked, without unpacking it.

Buffers may be compressed, each with its unpacked length in front; nothing bounds that length but whoever reads it. For
metadata see `arrow_metadata`. The layout: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from millrace.serving.bodies.arrow_metadata import metadata_bytes
from millrace.serving.bodies.body import TooLarge

_CONTINUATION = 0xFFFFFFFF
_BUFFER, _LENGTH = struct.Struct("<qq"), struct.Struct("<q")  # offset and length; what is in front of a packed buffer
# Fields of the flatbuffers tables Message, DictionaryBatch and RecordBatch, by their number in the schema.
_HEADER_TYPE, _HEADER, _BODY_LENGTH, _MESSAGE_METADATA = 1, 2, 3, 4
_DICTIONARY_ID, _DICTIONARY_DATA, _IS_DELTA = 0, 1, 2
_BUFFERS, _COMPRESSION = 2, 3
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3


def unpacked_bytes(stream: bytes, most_bytes: int) -> int:
    """How much its buffers become, each of which counts for itself, or its metadata, if that is more.

    Buffers may be the same bytes. They are copied where they are packed, where their numbers have their highest byte
    first, and where a dictionary has additions: the whole of it, for each addition.

    Raises:
        ValueError: no Arrow stream, or one that can't be followed.
        TooLarge: it is more than `most_bytes`.
    """
    described = held = 0
    dictionaries: dict[int, int] = {}
    try:
        for metadata, body in _messages(stream):
            described += _described_bytes(metadata)
            held += _batch_bytes(stream, metadata, body, dictionaries)
            if max(described, held) > most_bytes:
                raise TooLarge
    except struct.error as error:
        raise ValueError("it ends within a message") from error
    return max(described, held)


def first_message(stream: bytes) -> bytes:
    """The message that a stream begins with, which is its schema; one without a body.

    Raises:
        ValueError: no Arrow stream.
    """
    try:
        found = next(_messages(stream), None)
    except struct.error as error:
        raise ValueError("it ends within a message") from error
    if found is None:
        raise ValueError("it is empty")
    return stream[: found[1]]


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


def _described_bytes(metadata: bytes) -> int:
    """See `metadata_bytes`; what a batch commonly has is no more than its bytes."""
    message = _u32(metadata, 0)
    if _kind(metadata, message) != _SCHEMA and not _field(metadata, message, _MESSAGE_METADATA):
        return 0
    return metadata_bytes(metadata)


def _batch_bytes(stream: bytes, metadata: bytes, body: int, dictionaries: dict[int, int]) -> int:
    message = _u32(metadata, 0)
    kind = _kind(metadata, message)
    if kind == _RECORDS:
        return _buffer_bytes(stream, metadata, _table(metadata, message, _HEADER), body)
    if kind != _DICTIONARY:
        return 0
    dictionary = _table(metadata, message, _HEADER)
    size = _buffer_bytes(stream, metadata, _table(metadata, dictionary, _DICTIONARY_DATA), body)
    place = _field(metadata, dictionary, _DICTIONARY_ID)
    name = _LENGTH.unpack_from(metadata, place)[0] if place else 0
    place = _field(metadata, dictionary, _IS_DELTA)
    if place and metadata[place : place + 1] > b"\0":
        size += dictionaries.get(name, 0)
    dictionaries[name] = size
    return size


def _kind(metadata: bytes, message: int) -> int:
    place = _field(metadata, message, _HEADER_TYPE)
    return metadata[place] if 0 < place < len(metadata) else 0


def _buffer_bytes(stream: bytes, metadata: bytes, batch: int, body: int) -> int:
    if not _field(metadata, batch, _BUFFERS):
        return 0
    vector = _table(metadata, batch, _BUFFERS)
    count = _u32(metadata, vector)
    if vector + 4 + _BUFFER.size * count > len(metadata):
        raise ValueError("a message has more buffers than it has room for")
    numbers = struct.unpack_from(f"<{2 * count}q", metadata, vector + 4)
    offsets, lengths, rest = numbers[::2], numbers[1::2], len(stream) - body
    if count and not 0 <= min(lengths) <= max(lengths) <= rest:  # of buffers that nobody looks at
        lengths = tuple(max(0, min(each, rest)) for each in lengths)
    if not _field(metadata, batch, _COMPRESSION):
        return sum(lengths)
    return sum(_unpacked(stream, body + place, size) for place, size in zip(offsets, lengths, strict=True))


def _unpacked(stream: bytes, place: int, size: int) -> int:
    if size < _LENGTH.size:
        return size
    (unpacked,) = _LENGTH.unpack_from(stream, place)
    return size if unpacked < 0 else int(unpacked)  # -1: this one is not compressed


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
