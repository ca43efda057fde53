"""Tables of a flatbuffer, each part of which is looked at before it is read. The layout: https://flatbuffers.dev/internals/."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Self

_MOST_FIELDS = 16  # a table may share its list of fields with many others


class Table:
    """A table; what it has not, or what is cut off, raises ValueError or struct.error, here and in all methods.

    Args:
        data: the whole flatbuffer.
        place: where the table is in it.
    """

    __slots__ = ("_data", "_place", "_slots")

    def __init__(self, data: bytes, place: int) -> None:
        check(0 < place < len(data) and place % 4 == 0)
        start = place - struct.unpack_from("<i", data, place)[0]
        check(0 <= start < len(data) and start % 2 == 0)
        (size,) = struct.unpack_from("<H", data, start)
        check(size % 2 == 0 and size <= 4 + 2 * _MOST_FIELDS)
        # The first two are the sizes of this list and of the table.
        self._slots: Sequence[int] = struct.unpack_from(f"<{size // 2}H", data, start)[2:]
        self._data, self._place = data, place

    @classmethod
    def root(cls, data: bytes) -> Self:
        """The table that a flatbuffer begins with."""
        return cls(data, struct.unpack_from("<I", data)[0])

    def has(self, field: int) -> bool:
        """Whether the table has this field, by its number in the schema."""
        return field < len(self._slots) and self._slots[field] != 0

    def number(self, field: int, code: str) -> int:
        """A whole number, as wide as `code` is to `struct`; 0 where the table does not have it."""
        if not self.has(field):
            return 0
        place = self._place + self._slots[field]
        check(place % struct.calcsize(f"<{code}") == 0)
        value: int = struct.unpack_from(f"<{code}", self._data, place)[0]
        return value

    def table(self, field: int) -> Table:
        """Another table."""
        return Table(self._data, self._target(field))

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector."""
        first, count = self._vector(field, 4)
        for number, offset in enumerate(struct.unpack_from(f"<{count}I", self._data, first)):
            check(offset > 0)
            yield Table(self._data, first + 4 * number + offset)

    def numbers(self, field: int, each: int) -> tuple[int, ...]:
        """The numbers of 8 bytes in a vector of structs that have so many each."""
        first, count = self._vector(field, 8 * each)
        check(first % 8 == 0)
        return struct.unpack_from(f"<{each * count}q", self._data, first)

    def count(self, field: int) -> int:
        """How many items a vector of tables has."""
        return self._vector(field, 4)[1]

    def raw(self, field: int) -> bytes:
        """The bytes of a text, which may be none that can be decoded."""
        first, count = self._vector(field, 1)
        return self._data[first : first + count]

    def text(self, field: int) -> str:
        """A text."""
        first, count = self._vector(field, 1)
        check(self._data[first + count : first + count + 1] == b"\0")
        return self._data[first : first + count].decode()

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        """Where the first item is, and how many of this width there are, all of them within the flatbuffer."""
        place = self._target(field)
        check(place % 4 == 0)
        (count,) = struct.unpack_from("<I", self._data, place)
        check(place + 4 + count * width <= len(self._data))
        return place + 4, count

    def _target(self, field: int) -> int:
        offset = self.number(field, "I")
        check(offset > 0)
        return self._place + self._slots[field] + offset


def check(fits: bool) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise ValueError where something does not fit."""
    if not fits:
        raise ValueError("it does not fit")
