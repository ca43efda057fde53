"""The keys of request rows as the store has them: read from their columns, checked, and encoded in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from millrace.features.defaults import arrow_type
from millrace.features.identity import key_family
from millrace.features.online.key_bytes import encode_key, encode_texts, encode_whole
from millrace.features.online.keys import key_reader
from millrace.features.online.records import Record, present

_Encode = Callable[[list[Any]], list[bytes | None]]
# Of these, what is sent needs no reading, if it is of exactly that type.
_EXACT: dict[str | None, tuple[type, _Encode]] = {"integer": (int, encode_whole), "text": (str, encode_texts)}


class KeyCodes:
    """Reads and encodes the keys of one lookup.

    Args:
        columns: of the request, in the order of the table's keys.
        kinds: Arrow type names of the table's keys.
    """

    def __init__(self, columns: Sequence[str], kinds: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._readers = tuple(key_reader(column, kind) for column, kind in zip(columns, kinds, strict=True))
        families = [key_family(arrow_type(kind)) for kind in kinds]
        self._exact = _EXACT.get(families[0]) if len(families) == 1 else None

    def of(self, records: Sequence[Record]) -> list[bytes | None]:
        """The key of each record; None for one with a null in it.

        Raises:
            InvalidInput: a record lacks a column, or has it in another type.
        """
        if self._exact is None:
            return [self._of(record) for record in records]
        kind, encode = self._exact
        column = self._columns[0]
        values = [record.get(column) for record in records]
        if {kind}.issuperset(map(type, values)):
            return encode(values)
        return [self._of(record) for record in records]

    def _of(self, record: Record) -> bytes | None:
        read = zip(self._columns, self._readers, strict=True)
        return encode_key(tuple(reader(present(record, column)) for column, reader in read))
