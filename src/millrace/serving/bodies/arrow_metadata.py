"""What the metadata of an Arrow message takes once it is read, without reading it.

Parts of a flatbuffer are pointed at, so that one text may be the names of thousands of fields, and one field the children
of many, which are its children again; pyarrow makes an object of each. Writers share none of what is counted here, so what
they write takes a few times its length.

Nothing but what can be followed to its end is left to pyarrow: its own look at a flatbuffer has a limit for tables, eight
for each byte, and none for texts, so it can't be trusted with what isn't understood here. It is no stricter than flatbuffers
is: what doesn't fit here is no flatbuffer to pyarrow, or no schema (of which no table has as many fields as are refused),
or is of a version that has yet to come.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache

from millrace.serving.bodies.body import TooLarge
from millrace.serving.bodies.flatbuffers import Table, check

_MOST_DEPTH = 64  # pyarrow refuses what is twice as deep
_LONGEST_KNOWN, _KNOWN = 256 << 10, 16  # bytes of metadata, and how many such
_TABLE_BYTES = 128
_MOST_TIMES = 16  # the length: the shortest fields take 6 times theirs, and visits take time too
_MOST_BRACKETS = 1000
# Fields of the flatbuffers tables by their number in the schema, and values of enumerations.
_HEADER_TYPE, _HEADER, _MESSAGE_METADATA = 1, 2, 4
_SCHEMA = 1
_FIELDS, _SCHEMA_METADATA = 1, 2
_NAME, _TYPE_TYPE, _TYPE, _DICTIONARY, _CHILDREN, _FIELD_METADATA = 0, 2, 3, 4, 5, 6
_TIMESTAMP, _ZONE = 10, 1
_KEY, _VALUE = 0, 1
_EXTENSION = b"ARROW:extension:metadata"
_OLD_COMPRESSION = b"ARROW:experimental_compression"


def metadata_bytes(metadata: bytes) -> int:
    """How many bytes a schema and the texts beside it take in memory, more or less.

    Raises:
        ValueError: no message, or not one that can be followed.
        TooLarge: many times its length.
    """
    try:
        return _known_bytes(metadata) if len(metadata) <= _LONGEST_KNOWN else _bytes(metadata)
    except struct.error as error:
        raise ValueError("it ends within a part") from error


def _bytes(metadata: bytes) -> int:
    most = _MOST_TIMES * len(metadata)
    room = _Room(most)
    message = Table.root(metadata)
    room.take_pairs(message, _MESSAGE_METADATA)
    if message.number(_HEADER_TYPE, "B") == _SCHEMA:
        schema = message.table(_HEADER)
        room.take_pairs(schema, _SCHEMA_METADATA)
        room.take_fields(schema, _FIELDS, _MOST_DEPTH)
    return most - room.left


_known_bytes = lru_cache(maxsize=_KNOWN)(_bytes)  # a caller sends the same again and again


class _Room:
    """How many bytes are left."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise TooLarge

    def take_text(self, table: Table, field: int) -> bytes:
        text = table.raw(field) if table.has(field) else b""
        self.take(len(text))
        return text

    def take_pairs(self, table: Table, field: int) -> None:
        for pair in self._tables(table, field, _TABLE_BYTES):
            key, value = self.take_text(pair, _KEY), self.take_text(pair, _VALUE)
            # Buffers that are packed, and nothing else says so: a format before the first, which pyarrow still reads.
            check(key != _OLD_COMPRESSION)
            # JSON, which is read by a function that calls itself at each bracket until the stack ends.
            check(key != _EXTENSION or value.count(b"[") + value.count(b"{") <= _MOST_BRACKETS)

    def take_fields(self, table: Table, field: int, depth: int) -> None:
        for each in self._tables(table, field, 2 * _TABLE_BYTES):  # with their types
            check(depth > 0)
            self._take_field(each, depth)

    def _tables(self, table: Table, field: int, size: int) -> Iterator[Table]:
        """All tables of a vector, if there is room: for all of them, as the vector may be one of many in one place."""
        if not table.has(field):
            return
        self.take(size * table.count(field))
        yield from table.tables(field)

    def _take_field(self, field: Table, depth: int) -> None:
        self.take_text(field, _NAME)
        if field.number(_TYPE_TYPE, "B") == _TIMESTAMP and field.has(_TYPE):
            self.take_text(field.table(_TYPE), _ZONE)
        if field.has(_DICTIONARY):
            self.take(_TABLE_BYTES)
        if field.has(_FIELD_METADATA):
            self.take_pairs(field, _FIELD_METADATA)
        self.take_fields(field, _CHILDREN, depth - 1)
