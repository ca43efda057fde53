"""An LMDB environment, opened once per process and folder, that grows by itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import lmdb  # noqa: TID253 - this is its adapter

from millrace.core.errors import InvalidState

_READERS = 1024
_SPARE = 64
_Result = TypeVar("_Result")


class LmdbEnvironment:
    """An open folder, and the counting of readers that growing it needs. Made by `open_environment`."""

    def __init__(self, path: Path, map_bytes: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.users = path, 0
        # Spare transactions are kept and renewed, which makes a read several times cheaper than a new one.
        self._lmdb = lmdb.open(str(path), map_size=map_bytes, max_readers=_READERS, max_spare_txns=_SPARE)
        self._lmdb.reader_check()  # readers that died without leaving keep pages from being used again
        self._writing = threading.Lock()
        # The map may be resized only while this process has no transaction: readers count themselves.
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._readers = self._resizing = 0

    def begin(self) -> lmdb.Transaction:
        """A snapshot to read; give it back with `end`, whatever happens."""
        while True:
            with self._lock:
                if self._resizing:
                    self._idle.wait_for(lambda: not self._resizing)
                self._readers += 1
            try:
                return self._lmdb.begin()
            except lmdb.MapResizedError:  # another process made it larger
                self._leave()
                self._resize(0)
            except lmdb.Error:
                self._leave()
                raise

    def end(self, txn: lmdb.Transaction) -> None:
        """Done with a snapshot."""
        txn.abort()
        self._leave()

    def write(self, change: Callable[[lmdb.Transaction], _Result]) -> _Result:
        """One transaction, durable when it returns. It is begun anew after the file was grown, as often as it takes."""
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

    def _leave(self) -> None:
        with self._lock:
            self._readers -= 1
            if self._resizing and not self._readers:
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
_OPEN: dict[tuple[int, Path], LmdbEnvironment] = {}


def open_environment(path: Path, map_bytes: int) -> LmdbEnvironment:
    """The environment of a folder, which is made where it is missing; one per process, however often it is opened.

    Raises:
        InvalidState: it can't be made or opened.
    """
    path = Path(os.path.realpath(path))
    with _LOCK:
        shared = _OPEN.get((os.getpid(), path))
        if shared is None:
            try:
                shared = _OPEN[os.getpid(), path] = LmdbEnvironment(path, map_bytes)
            except (lmdb.Error, OSError) as error:
                raise InvalidState(
                    f"the online store in {path} can't be opened",
                    hint="it needs a local folder that can be written; if it is damaged, remove it and publish again",
                    path=str(path),
                ) from error
        shared.users += 1
        return shared
