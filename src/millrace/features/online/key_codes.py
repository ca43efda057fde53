"""The keys of request rows as the store has them: read from their columns, checked, and encoded in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from millrace.features.identity import key_family_of
from millrace.features.online.key_bytes import encode_parts, part, text_parts, whole_parts
from millrace.features.online.keys import key_reader
from millrace.features.online.records import Record, present

_Encode = Callable[[list[Any]], Sequence[bytes | None]]
# Of these, what is sent needs no reading, if it is of exactly that type.
_EXACT: dict[str | None, tuple[frozenset[type], _Encode]] = {
    "integer": (frozenset({int}), whole_parts),
    "text": (frozenset({str}), text_parts),
}


class KeyCodes:
    """Reads and encodes the keys of one lookup.

    Args:
        columns: of the request, in the order of the table's keys.
        kinds: Arrow type names of the table's keys.
    """

    def __init__(self, columns: Sequence[str], kinds: Sequence[str]) -> None:
        self._columns = [_KeyColumn(column, kind) for column, kind in zip(columns, kinds, strict=True)]

    def of(self, records: Sequence[Record]) -> Sequence[bytes | None]:
        """The key of each record; None for one with a null in it.

        Raises:
            InvalidInput: a record lacks a column, or has it in another type.
        """
        return encode_parts([column.parts(records) for column in self._columns])


class _KeyColumn:
    def __init__(self, column: str, kind: str) -> None:
        self._column, self._read = column, key_reader(column, kind)
        self._exact = _EXACT.get(key_family_of(kind))

    def parts(self, records: Sequence[Record]) -> Sequence[bytes | None]:
        column, read = self._column, self._read
        if self._exact is not None:
            kinds, encode = self._exact
            values = [record.get(column) for record in records]
            if kinds.issuperset(map(type, values)):
                return encode(values)
        return [part(read(present(record, column))) for record in records]
