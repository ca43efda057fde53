"""Thrift's compact protocol, as far as the footer of a Parquet file has it.

The layout: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from millrace.serving.bodies.body import TooLarge
from millrace.serving.bodies.flatbuffers import check

I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12
_NUMBERS = (4, I32, I64)
_WIDTHS = {1: 0, 2: 0, 3: 1, 7: 8}  # true, false, a byte, a double
_MOST_DEPTH = 32
_MOST_FIELDS = 1 << 14  # numbers of fields beyond the double would be cut to 16 bits
_LOW = _LONG = 15  # the lower half of a byte; a length that has bytes of its own
_SEVEN_BITS, _SHIFTS = 127, range(0, 70, 7)
_HALF_32 = 1 << 31
_FIELD_BYTES = 8
_ITEM_BYTES = {BINARY: 32, STRUCT: 64}
_OTHER_ITEM_BYTES = 8


class Items(NamedTuple):
    """What a list has where readers don't look at what it says of that, or what a struct has.

    Attributes:
        kind: of an item.
        parts: the lists and structs of an item by the number of the field.
        size: bytes that an item takes in memory, if it is not what others take.
    """

    kind: int
    parts: Mapping[int, Items] = {}
    size: int = 0


_UNKNOWN = Items(0)


class Compact:
    """Structs that are read one after the other, each part once; what is cut off or odd raises ValueError or IndexError.

    Args:
        data: what they are in.
        room: how many bytes they may take in memory; TooLarge is raised where it is more, and before it is.

    Attributes:
        at: where the next one is.
    """

    __slots__ = ("_data", "_room", "at")

    def __init__(self, data: bytes, room: int) -> None:
        self._data, self._room, self.at = data, room, 0

    def take(self, size: int) -> None:
        """Take this much of the room."""
        self._room -= size
        if self._room < 0:
            raise TooLarge

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and kind of each field of a struct; what it holds has to be read or skipped before the next."""
        last = 0
        while True:
            self.take(_FIELD_BYTES)
            head = self._data[self.at]
            self.at += 1
            if not head & _LOW:
                return
            last = self._number_of_field(last, head >> 4)
            yield last, head & _LOW

    def number(self) -> int:
        """A whole number."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def number_32(self) -> int:
        """A whole number of 32 bits, which pyarrow would cut others to."""
        value = self.number()
        check(-_HALF_32 <= value < _HALF_32)
        return value

    def binary(self) -> bytes:
        """A text."""
        size = self._varint()
        self.take(size)
        found = self._data[self.at : self.at + size]
        check(len(found) == size)
        self.at += size
        return found

    def items(self, of: Items) -> Iterator[int]:
        """The kind of each item of a list, as `fields`; there has to be room for all of them before the first is read."""
        head = self._data[self.at]
        self.at += 1
        kind, count = head & _LOW, self._varint() if head >> 4 == _LONG else head >> 4
        check(not (count and of.kind) or kind == of.kind)
        self.take(count * (of.size or _ITEM_BYTES.get(kind, _OTHER_ITEM_BYTES)))
        for _ in range(count):
            yield kind

    def skip(self, kind: int, of: Items = _UNKNOWN, depth: int = 0) -> None:
        """Go over what is of this kind, and over all that is in it."""
        check(depth < _MOST_DEPTH)
        if kind == STRUCT:
            self._skip_struct(of, depth)
        elif kind == LIST:
            for each in self.items(of):
                self._skip_item(each, of, depth + 1)
        elif kind in _NUMBERS:
            self._varint()
        elif kind == BINARY:
            self.binary()
        else:
            check(kind in _WIDTHS)
            self.at += _WIDTHS[kind]

    def _skip_struct(self, of: Items, depth: int) -> None:
        """As `fields` would, in a third of its time: most of a footer are numbers that nobody needs."""
        data, last = self._data, 0
        while head := data[self.at] & _LOW:
            self.take(_FIELD_BYTES)
            step = data[self.at] >> 4
            self.at += 1
            last = self._number_of_field(last, step)
            if head in _NUMBERS:
                while data[self.at] > _SEVEN_BITS:
                    self.at += 1
                self.at += 1
            else:
                self.skip(head, of.parts.get(last, _UNKNOWN), depth + 1)
        self.at += 1

    def _skip_item(self, kind: int, of: Items, depth: int) -> None:
        if kind in (1, 2):  # of a field it is the kind that says what it is; an item takes a byte
            self.at += 1
        else:
            self.skip(kind, of, depth)

    def _number_of_field(self, last: int, step: int) -> int:
        number = last + step if step else self.number()
        check(0 <= number < _MOST_FIELDS)
        return number

    def _varint(self) -> int:
        """Seven bits in each byte, the lowest first, and one that says whether there are more."""
        value = 0
        for shift in _SHIFTS:
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & _SEVEN_BITS) << shift
            if byte <= _SEVEN_BITS:
                check(value < 1 << 64)
                return value
        raise ValueError("a number is too long")
