"""Flatbuffers whose parts may be shared: a part stands once, however often it is pointed at."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ALIGNED = 8


@dataclass(frozen=True, eq=False)
class Text:
    content: bytes


@dataclass(frozen=True, eq=False)
class Structs:
    """A vector of structs of so many numbers of eight bytes."""

    numbers: Sequence[int]
    each: int = 2


@dataclass(frozen=True, eq=False)
class Tables:
    items: Sequence[Table]


@dataclass(frozen=True, eq=False)
class Table:
    """Fields by number: the bytes of a number, or a part."""

    fields: Mapping[int, bytes | Part]


Part = Text | Structs | Tables | Table


def flatbuffer(root: Table) -> bytes:
    """All parts behind those that point at them, as they have to be."""
    places, end = {}, _ALIGNED
    for part in _in_order(root):
        places[part] = end + _lead(part)
        end = places[part] + _size(part)
        end += -end % _ALIGNED
    out = bytearray(end)
    struct.pack_into("<I", out, 0, places[root])
    for part, place in places.items():
        _put(out, part, place, places)
    return bytes(out)


def _in_order(root: Part) -> list[Part]:
    found: list[Part] = []
    seen: set[Part] = set()
    waiting = [(root, False)]
    while waiting:
        part, done = waiting.pop()
        if done:
            found.append(part)
        elif part not in seen:
            seen.add(part)
            waiting.append((part, True))
            waiting.extend((other, False) for other in dict.fromkeys(_parts(part)))
    return found[::-1]


def _parts(part: Part) -> Sequence[Part]:
    if isinstance(part, Tables):
        return part.items
    return [each for each in part.fields.values() if not isinstance(each, bytes)] if isinstance(part, Table) else ()


def _lead(part: Part) -> int:
    """What stands in front of the place that is pointed at: the list of fields; room that aligns what follows a length."""
    if isinstance(part, Table):
        size = 4 + 2 * _count(part)
        return size + -size % _ALIGNED
    return 4 if isinstance(part, Structs) else 0


def _count(table: Table) -> int:
    return max(table.fields, default=-1) + 1


def _size(part: Part) -> int:
    if isinstance(part, Text):
        return 5 + len(part.content)
    if isinstance(part, Table):
        return _ALIGNED + _ALIGNED * len(part.fields)
    return 4 + (8 * len(part.numbers) if isinstance(part, Structs) else 4 * len(part.items))


def _put(out: bytearray, part: Part, place: int, places: Mapping[Part, int]) -> None:
    if isinstance(part, Table):
        _put_table(out, part, place, places)
        return
    if isinstance(part, Text):
        count, content = len(part.content), part.content
    elif isinstance(part, Structs):
        count, content = len(part.numbers) // part.each, struct.pack(f"<{len(part.numbers)}q", *part.numbers)
    else:
        count = len(part.items)
        offsets = [places[each] - (place + 4 + 4 * number) for number, each in enumerate(part.items)]
        content = struct.pack(f"<{count}I", *offsets)
    out[place : place + 4 + len(content)] = struct.pack("<I", count) + content


def _put_table(out: bytearray, table: Table, place: int, places: Mapping[Part, int]) -> None:
    slots = {field: _ALIGNED + _ALIGNED * number for number, field in enumerate(table.fields)}
    count = _count(table)
    listed = [slots.get(field, 0) for field in range(count)]
    struct.pack_into(f"<{2 + count}H", out, place - _lead(table), 4 + 2 * count, _size(table), *listed)
    struct.pack_into("<i", out, place, _lead(table))
    for field, value in table.fields.items():
        at = place + slots[field]
        content = value if isinstance(value, bytes) else struct.pack("<I", places[value] - at)
        out[at : at + len(content)] = content
