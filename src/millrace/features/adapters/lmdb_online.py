"""The online store on LMDB: one memory-mapped file, read by any number of processes without waiting."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import cast

import lmdb  # noqa: TID253 - this is its adapter

from millrace.core.errors import Conflict, InvalidInput
from millrace.core.names import TableName
from millrace.features.adapters.lmdb_environment import open_environment
from millrace.features.online.key_bytes import encode_key
from millrace.features.online.table import KnownTable, feature_types, read_known, unpacked, write_known
from millrace.features.port import EncodedBatch, Key, PackedRows
from millrace.features.types import OnlineRow, OnlineTable

_MAP_BYTES = 4 << 30  # address space, not disk: the file grows as rows come
_META = b"m"
_NEXT = b"n"
_Get = Callable[[bytes], bytes | None]
_ROW = b"r"  # after all others: a new table's rows are at the end of the file's order


class LmdbOnlineStore:
    """OnlineStore in a local folder (not on a network file system), durable against a crash of the machine too.

    Each publish is one transaction. Rows of a table lie under a number of its own; a replacing publish writes under a
    new number and drops the old rows in the same transaction, so it needs room for both.

    Args:
        path: the folder; made on first use.
        map_bytes: the largest size of the file before it has to grow; it then doubles by itself.
    """

    is_local = True

    def __init__(self, path: str | Path, *, map_bytes: int = _MAP_BYTES) -> None:
        self._shared = open_environment(Path(path).absolute(), map_bytes)
        # Each with the transaction that it was last read in; one value, so that threads never see half of it.
        self._known: dict[TableName, tuple[int, KnownTable]] = {}
        self._closed = False

    def replace(self, table: OnlineTable, batches: Iterable[EncodedBatch]) -> OnlineTable:
        """See `OnlineStore.replace`."""
        return self._shared.write(lambda txn: _replace(txn, table, batches))

    def change(
        self, base: OnlineTable, table: OnlineTable, batches: Iterable[EncodedBatch], removed: Sequence[bytes]
    ) -> OnlineTable:
        """See `OnlineStore.change`."""
        if feature_types(base) != feature_types(table):
            raise InvalidInput(f"the columns of {table.name} are others", hint="publish the whole table")
        return self._shared.write(lambda txn: _change(txn, base, table, batches, removed))

    def table(self, name: TableName) -> OnlineTable | None:
        """See `OnlineStore.table`."""
        txn = self._shared.begin()
        try:
            known = self._find(txn, name)
        finally:
            self._shared.end(txn)
        return None if known is None or known.codec is None else known.table

    def tables(self) -> Sequence[OnlineTable]:
        """See `OnlineStore.tables`."""
        txn = self._shared.begin()
        try:
            found = [read_known(raw) for raw in _under(txn, _META)]
        finally:
            self._shared.end(txn)
        return sorted((known.table for known in found if known.codec), key=lambda table: table.name)

    def read(self, name: TableName, codes: Sequence[bytes | None]) -> PackedRows | None:
        """See `OnlineStore.read`."""
        txn = self._shared.begin()
        try:
            known = self._find(txn, name)
            if known is None or known.codec is None:
                return None
            place = known.place
            get = cast(_Get, txn.get)  # transactions that are not asked for buffers give bytes
            return PackedRows(known.table, [None if code is None else get(place + code) for code in codes])
        finally:
            self._shared.end(txn)

    def get(self, name: TableName, keys: Sequence[Key]) -> Sequence[Sequence[OnlineRow]]:
        """See `OnlineStore.get`."""
        return unpacked(self.read(name, [encode_key(key) for key in keys]), len(keys))

    def remove(self, name: TableName) -> None:
        """See `OnlineStore.remove`."""
        self._shared.write(lambda txn: _remove(txn, name))

    def close(self) -> None:
        """Let go of the folder; it is closed when its last user in this process lets go. Idempotent."""
        if not self._closed:
            self._closed = True
            self._shared.release()

    def _find(self, txn: lmdb.Transaction, name: TableName) -> KnownTable | None:
        seen, number = self._known.get(name), txn.id()
        if seen is not None and seen[0] == number:  # nothing at all was written to the file since
            return seen[1]
        raw = _read(txn, _META + name.full.encode())
        if raw is None:
            return None
        known = seen[1] if seen is not None and seen[1].raw == raw else read_known(raw)
        self._known[name] = number, known
        return known


def _read(txn: lmdb.Transaction, key: bytes) -> bytes | None:
    return cast(_Get, txn.get)(key)


def _replace(txn: lmdb.Transaction, table: OnlineTable, batches: Iterable[EncodedBatch]) -> OnlineTable:
    place = _META + table.name.full.encode()
    raw, prefix = _read(txn, place), _new_prefix(txn)
    before = txn.stat()["entries"]
    _put(txn, prefix, batches, append=True)
    table = changed(table, keys=txn.stat()["entries"] - before)
    if raw is not None:
        _drop(txn, read_known(raw))
    txn.put(place, write_known(table, prefix))
    return table


def _change(
    txn: lmdb.Transaction,
    base: OnlineTable,
    table: OnlineTable,
    batches: Iterable[EncodedBatch],
    removed: Sequence[bytes],
) -> OnlineTable:
    place = _META + table.name.full.encode()
    raw = _read(txn, place)
    if raw is None or (known := read_known(raw)).table != base or known.codec is None:
        raise Conflict(f"{table.name} was published by somebody else meanwhile", hint="publish it again")
    before = txn.stat()["entries"]
    _put(txn, known.place, batches, append=False)
    for code in removed:
        txn.delete(known.place + code)
    table = changed(table, keys=base.keys + txn.stat()["entries"] - before)
    txn.put(place, write_known(table, known.place))
    return table


def _remove(txn: lmdb.Transaction, name: TableName) -> None:
    place = _META + name.full.encode()
    raw = _read(txn, place)
    if raw is not None:
        txn.delete(place)
        _drop(txn, read_known(raw))


def _new_prefix(txn: lmdb.Transaction) -> bytes:
    number = int.from_bytes(txn.get(_NEXT) or b"\0", "big") + 1
    txn.put(_NEXT, number.to_bytes(8, "big"))
    return _ROW + number.to_bytes(8, "big")


def _put(txn: lmdb.Transaction, prefix: bytes, batches: Iterable[EncodedBatch], *, append: bool) -> None:
    with txn.cursor() as cursor:
        for codes, packed in batches:
            cursor.putmulti(zip(map(prefix.__add__, codes), packed, strict=True), append=append)


def _under(txn: lmdb.Transaction, prefix: bytes) -> Iterator[bytes]:
    """The values whose keys begin so."""
    with txn.cursor() as cursor:
        if cursor.set_range(prefix):
            pairs = ((bytes(key), bytes(value)) for key, value in cursor.iternext())
            yield from (value for _, value in itertools.takewhile(lambda pair: pair[0].startswith(prefix), pairs))


def _drop(txn: lmdb.Transaction, known: KnownTable) -> None:
    with txn.cursor() as cursor:
        left = cursor.set_range(known.place)
        delete = cursor.delete
        # As many as there should be without looking at each, then what may be left.
        for _ in range(known.table.keys if left and known.codec else 0):
            delete()
        while bytes(cursor.key()).startswith(known.place):
            delete()
