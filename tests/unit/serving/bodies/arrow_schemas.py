"""Arrow messages by hand, with parts that no writer would share."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.unit.serving.bodies.shared_flatbuffers import Part, Structs, Table, Tables, Text, flatbuffer

V4, V5 = 3, 4
SCHEMA, RECORDS = 1, 3
TIMESTAMP, STRUCT, UNION, SIZED_LIST = 10, 13, 14, 16
END = struct.pack("<II", 0xFFFFFFFF, 0)
NAME = Text(b"a")


def number(value: int, code: str = "h") -> bytes:
    return struct.pack(f"<{code}", value)


def pairs(key: Text, value: Text, count: int = 1) -> Tables:
    return Tables([Table({0: key, 1: value})] * count)


def field(
    name: Text = NAME, kind: int = 3, type_: Table | None = None, children: Sequence[Table] = (), **more: Part
) -> Table:
    """A column of floats, if nothing else is said; `dictionary` and `metadata` are parts."""
    named = {number_: more[each] for each, number_ in (("dictionary", 4), ("metadata", 6)) if each in more}
    type_ = type_ or Table({0: number(2)})
    return Table({0: name, 2: number(kind, "b"), 3: type_, 5: Tables(children), **named})


def schema(fields: Sequence[Table], metadata: Part | None = None, endianness: int = 0) -> Table:
    more = {} if metadata is None else {2: metadata}
    return Table({0: number(endianness), 1: Tables(fields), **more})


def records(rows: int, columns: int, *, place: int, size: int) -> Table:
    """So many columns without nulls, all of them the same bytes."""
    nodes, buffers = Structs([rows, 0] * columns), Structs([0, 0, place, size] * columns)
    return Table({0: number(rows, "q"), 1: nodes, 2: buffers})


def message(
    header: Table, kind: int = SCHEMA, *, version: int = V5, body: bytes = b"", metadata: Part | None = None
) -> bytes:
    return struct.pack("<I", 0xFFFFFFFF) + old_message(header, kind, version=version, body=body, metadata=metadata)


def old_message(
    header: Table, kind: int = SCHEMA, *, version: int = V5, body: bytes = b"", metadata: Part | None = None
) -> bytes:
    """Without the mark in front of the length."""
    more = {} if metadata is None else {4: metadata}
    parts = {0: number(version), 1: number(kind, "b"), 2: header, 3: number(len(body), "q"), **more}
    content = flatbuffer(Table(parts))
    return struct.pack("<I", len(content)) + content + body
