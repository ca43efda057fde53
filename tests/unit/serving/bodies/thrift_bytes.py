"""Thrift's compact protocol, written by hand: of a value, its kind and its bytes. And Parquet files without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Value = tuple[int, bytes]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def i32(value: int) -> Value:
    return 5, varint(value << 1 if value >= 0 else -value * 2 - 1)


def i64(value: int) -> Value:
    return 6, i32(value)[1]


def binary(value: bytes) -> Value:
    return 8, varint(len(value)) + value


def struct(fields: Mapping[int, Value]) -> Value:
    out, last = b"", 0
    for number, (kind, content) in fields.items():
        step = number - last
        out += (bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + i32(number)[1]) + content
        last = number
    return 12, out + b"\0"


def head(kind: int, count: int) -> Value:
    """A list that says that it has so many."""
    return 9, bytes([count << 4 | kind]) if count < 15 else bytes([0xF0 | kind]) + varint(count)


def items(values: Sequence[Value]) -> Value:
    return 9, head(values[0][0], len(values))[1] + b"".join(content for _, content in values)


def element(name: bytes, children: int | None = None) -> Value:
    """Of a Parquet schema: a column of floats, or a group."""
    if children is None:
        return struct({1: i32(5), 3: i32(1), 4: binary(name)})
    return struct({3: i32(0), 4: binary(name), 5: i32(children)})


def flat(columns: int) -> Value:
    return items([element(b"all", columns), *[element(b"c%d" % number) for number in range(columns)]])


def pair(key: bytes, value: bytes) -> Value:
    return struct({1: binary(key), 2: binary(value)})


def file(elements: Value, groups: Value = (9, b"\x0c"), pairs: Value | None = None) -> bytes:
    more = {} if pairs is None else {5: pairs}
    return framed(struct({1: i32(2), 2: elements, 3: i64(0), 4: groups, **more}))


def framed(footer: Value) -> bytes:
    content = footer[1]
    return b"PAR1" + content + len(content).to_bytes(4, "little") + b"PAR1"
