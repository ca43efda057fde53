from __future__ import annotations

import struct

import pytest

from millrace.serving.bodies.flatbuffers import Table

WRONG = (ValueError, struct.error)
# At 4 the list of three fields, at 16 a table with a number, a text (at 32) and a vector (at 40) of one table, of which
# there is no more than its beginning.
LIST = struct.pack("<5H2x", 10, 16, 4, 8, 12)
TABLE = struct.pack("<ih2xII", 16 - 4, -7, 32 - 24, 40 - 28)
TEXT = struct.pack("<I4s", 3, b"abc\0")
GOOD = struct.pack("<I", 16) + LIST + TABLE + TEXT + struct.pack("<IIi", 1, 48 - 44, 48 - 4)
NUMBER, TEXT_FIELD, VECTOR, NONE = range(4)


def put(at: int, code: str, value: int) -> bytes:
    return GOOD[:at] + struct.pack(f"<{code}", value) + GOOD[at + struct.calcsize(code) :]


def read(raw: bytes) -> tuple[int, str, int]:
    table = Table.root(raw)
    (other,) = table.tables(VECTOR)
    assert other.has(NUMBER)
    return table.number(NUMBER, "h"), table.text(TEXT_FIELD), table.count(VECTOR)


def test_what_is_there() -> None:
    assert read(GOOD) == (-7, "abc", 1)
    root = Table.root(GOOD)
    assert [root.has(field) for field in range(4)] == [True, True, True, False]
    assert root.number(NONE, "q") == 0


def test_what_is_not_there() -> None:
    root = Table.root(GOOD)
    (other,) = root.tables(VECTOR)
    for look in (lambda: other.number(NUMBER, "h"), lambda: other.text(TEXT_FIELD), lambda: root.text(NONE)):
        with pytest.raises(WRONG):
            look()
    for end in range(len(GOOD)):
        with pytest.raises(WRONG):
            read(GOOD[:end])


@pytest.mark.parametrize(
    "raw",
    [
        put(0, "I", 18),  # a table, a list of fields, a number and a vector that are not where the like may be
        put(16, "i", 11),
        put(8, "H", 5),
        put(28, "I", 13),
        put(16, "i", 17),  # a list of fields before the beginning, behind the end, of no whole length
        put(16, "i", -40),
        put(4, "H", 9),
        put(24, "I", 0),  # a text at the place that says where it is
        put(32, "I", 2),  # without its end, and longer than all
        put(32, "I", 1 << 31),
        put(40, "I", 3),  # more tables than there is room for
        put(44, "I", 0),
    ],
)
def test_what_is_wrong(raw: bytes) -> None:
    with pytest.raises(WRONG):
        read(raw)


def test_a_list_of_fields_that_others_may_share_is_short() -> None:
    for count in (16, 18):
        size = 4 + 2 * count
        raw = struct.pack("<IHH", 8 + 2 * count, size, 4) + bytes(2 * count) + struct.pack("<i", 4 + 2 * count)
        raw += bytes(-len(raw) % 4)
        if count == 16:
            assert not Table.root(raw).has(0)
        else:
            with pytest.raises(WRONG):
                Table.root(raw)
