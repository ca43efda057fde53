"""Requests on disk before they are answered: append-only segments, one open at a time per worker.

A segment is a file of frames: payload length and CRC-32, each as a little-endian 32-bit number, then the payload, JSON.
A frame reaches the operating system in one write, so a killed worker leaves at most one torn frame, at the end. The
name says what a segment is: `*.open` is being written under a lock that dies with its writer, `*.segment` is sealed and
never changes again.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import orjson

from millrace.core.clock import Clock, epoch_us
from millrace.serving.types import Description

OPEN, SEALED, _NEW = ".open", ".segment", ".new"
_HEADER = struct.Struct("<II")
_LOG = logging.getLogger(__name__)


class CaptureLog:
    """The capture of one worker. Thread-safe.

    What `write` returned from survives the death of the process; after at most `sync_s` it survives a power cut too.
    A full disk never stops serving: a record that can't be written is counted in `dropped`.
    """

    def __init__(
        self,
        root: Path,
        worker_id: str,
        clock: Clock,
        *,
        max_bytes: int = 16 << 20,
        max_age_s: float = 30.0,
        sync_s: float = 0.05,
    ) -> None:
        self._root, self._worker, self._clock = root, worker_id, clock
        self._max_bytes, self._max_age_s, self._sync_s = max_bytes, max_age_s, sync_s
        self._lock = threading.Lock()
        self._segment: _Segment | None = None
        self._stop = threading.Event()
        self.dropped = 0
        root.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._keep_synced, name="capture-sync", daemon=True)
        self._thread.start()

    def write(self, record: dict[str, object], description: Description) -> None:
        """Append a record; its description goes before it where this segment does not have that yet."""
        frame = _frame(record)
        with self._lock:
            try:
                segment = self._segment or self._open()
                if description.id not in segment.described:
                    segment.append(_frame({"description": asdict(description)}))
                    segment.described.add(description.id)
                segment.append(frame)
                if segment.size >= self._max_bytes:
                    self._seal()
            except OSError as error:
                self._count_dropped(error)

    def seal(self) -> None:
        """Close the open segment, so that a drain takes it; nothing where there is none."""
        with self._lock:
            self._seal()

    def close(self) -> None:
        """Seal and stop."""
        self._stop.set()
        self._thread.join()
        self.seal()

    def _open(self) -> _Segment:
        stem = f"{self._worker}-{epoch_us(self._clock.now())}-{uuid.uuid4().hex[:12]}"
        self._segment = _Segment(self._root / (stem + OPEN))
        return self._segment

    def _seal(self) -> None:
        if self._segment:
            self._segment.seal()
            self._segment = None

    def _count_dropped(self, error: OSError) -> None:
        if self.dropped == 0:
            _LOG.error("capture: a record could not be written: %s", error.strerror)
        self.dropped += 1

    def _keep_synced(self) -> None:
        while not self._stop.wait(self._sync_s):
            with self._lock:
                segment = self._segment
                if segment and segment.age_s > self._max_age_s:
                    self._seal()
                    continue
                handle = segment.handle_to_sync() if segment else None
            if handle is not None:
                # Outside the lock: a slow disk must not hold up a request.
                with contextlib.suppress(OSError):
                    os.fdatasync(handle)
                os.close(handle)


class _Segment:
    """The open segment."""

    def __init__(self, path: Path) -> None:
        # Locked before it has its name: whoever finds an unlocked *.open knows that its writer is dead.
        new = path.with_suffix(_NEW)
        self._fd = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        new.rename(path)
        self._path, self._opened, self._dirty = path, time.monotonic(), False
        self.size, self.described = 0, set[str]()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._opened

    def append(self, frame: bytes) -> None:
        written = 0
        try:
            written = os.write(self._fd, frame)
        finally:
            if written < len(frame):
                # A torn frame would hide all that comes after it.
                os.ftruncate(self._fd, self.size)
        if written < len(frame):
            raise OSError(28, "no space left for a whole record")
        self.size += written
        self._dirty = True

    def handle_to_sync(self) -> int | None:
        """A second handle on the file where there is something to sync; the caller closes it."""
        dirty, self._dirty = self._dirty, False
        return os.dup(self._fd) if dirty else None

    def seal(self) -> None:
        """Give the file its final name. Where that fails it stays open by name, and is recovered when we are gone."""
        with contextlib.suppress(OSError):
            os.fdatasync(self._fd)
            self._path.rename(self._path.with_suffix(SEALED))
        os.close(self._fd)


def recover(root: Path) -> int:
    """Seal the segments that dead workers have left open; how many. Safe beside living workers and other recoveries."""
    count = 0
    for path in sorted(root.glob("*" + OPEN)):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            fd = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.rename(path.with_suffix(SEALED))
                count += 1
            finally:
                os.close(fd)
    return count


def sealed(root: Path) -> list[Path]:
    """The segments that wait for a drain, oldest name first."""
    return sorted(root.glob("*" + SEALED))


def read_segment(path: Path) -> Iterator[dict[str, object]]:
    """The payloads of a segment in order, up to the first torn or damaged frame."""
    data = path.read_bytes()
    at = 0
    while at + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + _HEADER.size + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield orjson.loads(payload)
        at += _HEADER.size + length


def _frame(payload: dict[str, object]) -> bytes:
    body = orjson.dumps(payload)
    return _HEADER.pack(len(body), zlib.crc32(body)) + body
