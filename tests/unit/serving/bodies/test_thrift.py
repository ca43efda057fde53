from __future__ import annotations

import pytest

from millrace.serving.bodies.body import TooLarge
from millrace.serving.bodies.thrift import BINARY, STRUCT, Compact, Items
from tests.unit.serving.bodies import thrift_bytes as th

ROOM = 10_000
ANY = Items(STRUCT)
WRONG = (ValueError, IndexError)
INNER = th.struct(
    {1: th.i32(-7), 2: th.binary(b"abc"), 40: th.i64(2**62), 41: (1, b""), 42: (7, bytes(8)), 43: (3, b"x")}
)
LISTS = th.struct({3: th.items([INNER, INNER]), 4: th.items([(1, b"\1")] * 20), 5: th.items([th.binary(b"x")])})
ALL = th.struct({1: INNER, 2: LISTS, 20: th.i32(5)})


def walked(raw: bytes, parts: Items = ANY) -> int:
    """Over all of it; the number that is behind it."""
    reader = Compact(raw + th.i32(11)[1], ROOM)
    reader.skip(STRUCT, parts)
    return reader.number()


def test_what_is_skipped_ends_where_the_next_begins() -> None:
    assert walked(ALL[1]) == 11
    assert walked(ALL[1], Items(STRUCT, {2: Items(STRUCT, {3: Items(STRUCT), 5: Items(BINARY)})})) == 11


def test_what_is_read() -> None:
    reader = Compact(INNER[1], ROOM)
    fields = reader.fields()
    assert next(fields) == (1, 5)
    assert reader.number() == -7
    assert next(fields) == (2, BINARY)
    assert reader.binary() == b"abc"
    assert next(fields) == (40, 6)
    assert reader.number() == 2**62
    for number, kind in fields:
        assert number > 40
        reader.skip(kind)


def test_a_number_that_would_be_cut_to_32_bits_is_refused() -> None:
    for value in (-(2**31), -1, 0, 2**31 - 1):
        assert Compact(th.i32(value)[1], ROOM).number_32() == value
    for value in (-(2**32) + 6, -(2**31) - 1, 2**31, 2**32 + 6):
        with pytest.raises(ValueError, match="fit"):
            Compact(th.i32(value)[1], ROOM).number_32()


def test_what_is_cut_off() -> None:
    for end in range(len(ALL[1])):
        with pytest.raises(WRONG):
            Compact(ALL[1][:end], ROOM).skip(STRUCT)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0b\x02\0\0",  # a map, which no footer has
        b"\x05\x01\x02\0",  # a field with a number below nothing
        b"\x05\xfe\xff\x03\x02\x15\x02\0",  # numbers of fields that would be cut to 16 bits
        b"\x19\xf5" + b"\xff" * 10 + b"\0",  # a length that is too long
    ],
)
def test_what_is_wrong(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"fit|too long"):
        walked(raw)


def test_a_list_of_another_kind_than_readers_take_it_for() -> None:
    raw = th.struct({1: th.items([th.i32(1)] * 3)})[1]
    assert walked(raw) == 11
    with pytest.raises(ValueError, match="fit"):
        walked(raw, Items(STRUCT, {1: Items(BINARY)}))
    assert walked(th.struct({1: th.head(0, 0)})[1], Items(STRUCT, {1: Items(BINARY)})) == 11  # some writers' empty one


def test_room_is_taken_before_what_is_in_it_is_read() -> None:
    for raw in (th.struct({1: th.head(STRUCT, 1 << 30)}), th.struct({1: (8, th.varint(1 << 30))})):
        with pytest.raises(TooLarge):
            walked(raw[1])
    with pytest.raises(TooLarge):
        walked(b"\x15\x02" * 2000 + b"\0")


def test_what_is_too_deep() -> None:
    deep = b"\x1c" * 100 + bytes(101)
    with pytest.raises(ValueError, match="fit"):
        walked(deep)
    with pytest.raises(ValueError, match="fit"):
        walked(b"\x19" + b"\x19" * 100 + bytes(101))
