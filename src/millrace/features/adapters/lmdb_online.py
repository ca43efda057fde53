"""The online store on LMDB: one memory-mapped file, read by any number of processes without waiting."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any, TypeVar, cast

import lmdb  # noqa: TID253 - this is its adapter
import orjson

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import InvalidState
from millrace.core.names import TableName
from millrace.features.identity import MICROSECOND
from millrace.features.online_codec import RowCodec, encode_key
from millrace.features.port import Key
from millrace.features.types import OnlineRow, OnlineTable
from millrace.lake.types import Version

_MAP_BYTES = 4 << 30  # address space, not disk: the file grows as rows come
_READERS = 1024
_META = b"m"
_NEXT = b"n"
_ROW = b"r"
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _Known:
    """A table's description as it was last read, with what follows from it."""

    raw: bytes
    table: OnlineTable
    prefix: bytes
    codec: RowCodec


class LmdbOnlineStore:
    """OnlineStore in a local folder (not on a network file system). Thread-safe.

    Each publish is one transaction. Rows of a table lie under a number of its own; a replacing publish writes under a
    new number and drops the old rows in the same transaction.

    Args:
        path: the folder; made on first use.
        map_bytes: the largest size of the file before it has to grow; it then doubles by itself.
    """

    def __init__(self, path: str | Path, *, map_bytes: int = _MAP_BYTES) -> None:
        self._shared = _open(Path(path).absolute(), map_bytes)
        self._known: dict[TableName, _Known] = {}
        self._closed = False

    def publish(self, table: OnlineTable, rows: Iterable[tuple[Key, Sequence[OnlineRow]]], *, replace: bool) -> None:
        """See `OnlineStore.publish`; a key with a null in it is not stored."""
        codec = RowCodec(_features(table))
        packed = [(code, codec.pack(kept)) for key, kept in rows if (code := encode_key(key)) is not None]
        self._shared.write(lambda txn: _publish(txn, table, packed, replace=replace))

    def table(self, name: TableName) -> OnlineTable | None:
        """See `OnlineStore.table`; the same object until the next publish."""
        with self._shared.reading() as txn:
            known = self._find(txn, name)
        return None if known is None else known.table

    def tables(self) -> Sequence[OnlineTable]:
        """All published tables, by name."""
        with self._shared.reading() as txn, txn.cursor() as cursor:
            cursor.set_range(_META)
            found = [bytes(raw) for key, raw in cursor.iternext() if bytes(key).startswith(_META)]
        return sorted((_decode(raw).table for raw in found), key=lambda table: table.name)

    def get(self, name: TableName, keys: Sequence[Key]) -> Sequence[Sequence[OnlineRow]]:
        """See `OnlineStore.get`; all keys are read from one snapshot."""
        codes = [encode_key(key) for key in keys]
        with self._shared.reading() as txn:
            known = self._find(txn, name)
            if known is None:
                return [()] * len(keys)
            found = [None if code is None else _read(txn, known.prefix + code) for code in codes]
        return [() if packed is None else known.codec.unpack(packed) for packed in found]

    def remove(self, name: TableName) -> None:
        """See `OnlineStore.remove`."""
        self._shared.write(lambda txn: _remove(txn, name))

    def close(self) -> None:
        """Let go of the folder; it is closed when its last user in this process lets go. Idempotent."""
        if not self._closed:
            self._closed = True
            self._shared.release()

    def _find(self, txn: lmdb.Transaction, name: TableName) -> _Known | None:
        raw = _read(txn, _META + name.full.encode())
        known = self._known.get(name)
        if raw is None or (known is not None and known.raw == raw):
            return known if raw is not None else None
        known = self._known[name] = _decode(raw)
        return known


class _Environment:
    """An LMDB environment, opened once per process and folder, and the locks that growing it needs."""

    def __init__(self, path: Path, map_bytes: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.users = path, 0
        self._lmdb = lmdb.open(str(path), map_size=map_bytes, max_readers=_READERS, max_spare_txns=8)
        self._lmdb.reader_check()  # readers that died without leaving keep pages from being used again
        self._writing = threading.Lock()
        # The map may be resized only while this process has no transaction: readers count themselves.
        self._idle = threading.Condition()
        self._readers = self._resizing = 0

    @contextmanager
    def reading(self) -> Iterator[lmdb.Transaction]:
        """A snapshot."""
        txn = self._begin()
        try:
            yield txn
        finally:
            txn.abort()
            self._leave()

    def write(self, change: Callable[[lmdb.Transaction], _Result]) -> _Result:
        """One transaction, durable when it returns; the file is grown as often as it takes."""
        with self._writing:
            while True:
                try:
                    with self._lmdb.begin(write=True) as txn:
                        return change(txn)
                except lmdb.MapFullError:
                    self._resize(2 * int(self._lmdb.info()["map_size"]))
                except lmdb.MapResizedError:
                    self._resize(0)

    def release(self) -> None:
        """One user less."""
        with _LOCK:
            self.users -= 1
            if self.users == 0:
                _OPEN.pop((os.getpid(), self.path), None)
                self._lmdb.close()

    def _begin(self) -> lmdb.Transaction:
        while True:
            with self._idle:
                self._idle.wait_for(lambda: self._resizing == 0)
                self._readers += 1
            try:
                return self._lmdb.begin()
            except lmdb.MapResizedError:  # another process made it larger
                self._leave()
                self._resize(0)
            except lmdb.Error:
                self._leave()
                raise

    def _leave(self) -> None:
        with self._idle:
            self._readers -= 1
            if self._readers == 0:
                self._idle.notify_all()

    def _resize(self, size: int) -> None:
        """Take a new map size (0: the one in the file) as soon as nobody here reads."""
        with self._idle:
            self._resizing += 1  # new readers wait, or there might never be a moment without one
            try:
                self._idle.wait_for(lambda: self._readers == 0)
                self._lmdb.set_mapsize(size)
            finally:
                self._resizing -= 1
                self._idle.notify_all()


_LOCK = threading.Lock()
_OPEN: dict[tuple[int, Path], _Environment] = {}


def _open(path: Path, map_bytes: int) -> _Environment:
    path = Path(os.path.realpath(path))
    with _LOCK:
        shared = _OPEN.get((os.getpid(), path))
        if shared is None:
            try:
                shared = _OPEN[os.getpid(), path] = _Environment(path, map_bytes)
            except (lmdb.Error, OSError) as error:
                raise InvalidState(
                    f"the online store in {path} can't be opened",
                    hint="it needs a local folder that can be written; if it is damaged, remove it and publish again",
                    path=str(path),
                ) from error
        shared.users += 1
        return shared


def _read(txn: lmdb.Transaction, key: bytes) -> bytes | None:
    # Transactions that are not asked for buffers give bytes.
    return cast("bytes | None", txn.get(key))


def _features(table: OnlineTable) -> dict[str, str]:
    identity = {*table.primary_keys, table.timeseries_column}
    return {name: kind for name, kind in table.types.items() if name not in identity}


def _publish(
    txn: lmdb.Transaction, table: OnlineTable, packed: Sequence[tuple[bytes, bytes]], *, replace: bool
) -> None:
    place = _META + table.name.full.encode()
    raw = _read(txn, place)
    old = None if raw is None else _decode(raw)
    if old is not None and not replace and _features(old.table) == _features(table):
        _put(txn, old.prefix, packed)
        prefix = old.prefix
    else:
        prefix = _new_prefix(txn)
        _put(txn, prefix, packed)
        if old is not None:
            if not replace:
                _carry_over(txn, old, prefix, RowCodec(_features(table)))
            _drop(txn, old.prefix)
    keys = len({code for code, _ in packed}) if replace or old is None else sum(1 for _ in _under(txn, prefix))
    txn.put(place, _encode(changed(table, keys=keys), prefix))


def _remove(txn: lmdb.Transaction, name: TableName) -> None:
    place = _META + name.full.encode()
    raw = _read(txn, place)
    if raw is not None:
        txn.delete(place)
        _drop(txn, _decode(raw).prefix)


def _new_prefix(txn: lmdb.Transaction) -> bytes:
    number = int.from_bytes(txn.get(_NEXT) or b"\0", "big") + 1
    txn.put(_NEXT, number.to_bytes(8, "big"))
    return _ROW + number.to_bytes(8, "big")


def _put(txn: lmdb.Transaction, prefix: bytes, packed: Sequence[tuple[bytes, bytes]]) -> None:
    with txn.cursor() as cursor:
        cursor.putmulti([(prefix + code, value) for code, value in packed])


def _carry_over(txn: lmdb.Transaction, old: _Known, prefix: bytes, codec: RowCodec) -> None:
    """Rows of keys that were not published now, in the new columns."""
    for key in list(_under(txn, old.prefix)):
        moved = prefix + key[len(old.prefix) :]
        if txn.get(moved) is None:
            txn.put(moved, codec.pack(old.codec.unpack(_read(txn, key) or b"[]")))


def _under(txn: lmdb.Transaction, prefix: bytes) -> Iterator[bytes]:
    with txn.cursor() as cursor:
        if cursor.set_range(prefix):
            keys = (bytes(key) for key in cursor.iternext(keys=True, values=False))
            yield from itertools.takewhile(lambda key: key.startswith(prefix), keys)


def _drop(txn: lmdb.Transaction, prefix: bytes) -> None:
    with txn.cursor() as cursor:
        left = cursor.set_range(prefix)
        while left and bytes(cursor.key()).startswith(prefix):
            left = cursor.delete() and bool(cursor.key())


def _encode(table: OnlineTable, prefix: bytes) -> bytes:
    return orjson.dumps(
        {
            "name": table.name.full,
            "primary_keys": table.primary_keys,
            "timeseries_column": table.timeseries_column,
            "available_after_us": table.available_after // MICROSECOND,
            "types": dict(table.types),
            "version": table.version,
            "published_us": epoch_us(table.published_at),
            "keys": table.keys,
            "newest_us": table.newest_us,
            "prefix": prefix.hex(),
        }
    )


def _decode(raw: bytes) -> _Known:
    body: Mapping[str, Any] = orjson.loads(raw)
    table = OnlineTable(
        name=TableName.parse(body["name"]),
        primary_keys=tuple(body["primary_keys"]),
        timeseries_column=body["timeseries_column"],
        available_after=body["available_after_us"] * MICROSECOND,
        types=body["types"],
        version=Version(body["version"]),
        published_at=from_epoch_us(body["published_us"]),
        keys=body["keys"],
        newest_us=body["newest_us"],
    )
    return _Known(raw, table, bytes.fromhex(body["prefix"]), RowCodec(_features(table)))
