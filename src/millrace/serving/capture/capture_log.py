"""Requests on disk before they are answered: one open segment a worker."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from millrace.core.clock import Clock, epoch_us
from millrace.core.settings import Durability
from millrace.serving.capture.records import description_payload
from millrace.serving.capture.segments import OpenSegment, bytes_in, framed, free_in
from millrace.serving.types import Description

_LOG = logging.getLogger(__name__)
_BUFFER_BYTES = 64 << 20
# From one look at the folder to the next; where there is little room, each sync has one.
_LOOK_S, _MUCH_ROOM = 1.0, 64 << 20
# A record's payload in parts, and what it has in common with others.
Kept: TypeAlias = tuple[Sequence[bytes], Description]
# Who waits for a sync, of which segment, and of how many records.
_Commit: TypeAlias = tuple[asyncio.Future[bool], OpenSegment | None, int]


@dataclass(frozen=True, slots=True)
class CaptureState:
    """How a worker's capture stands.

    Attributes:
        dropped: records that could not be kept, since the worker started.
        written_bytes: since then.
        waiting_bytes: in the capture folder, of all workers, as it was within the last second.
    """

    dropped: int
    written_bytes: int
    waiting_bytes: int


class CaptureLog:
    """The capture of one worker. Thread-safe; never waits for a full or a slow disk but where `durable` says so.

    `process`: what was kept survives the death of the process, and after at most `sync_s` a power cut too. `buffered`:
    it survives both after at most `sync_s`. `durable`: `keep` returns when it survives both.

    What finds no room, over the quota or on a full disk, is dropped and counted. Capture goes on by itself when a drain
    has made room.

    Args:
        root: the capture folder, shared by all workers; made where missing.
        quota_bytes: how much may be in it. A little of a disk is left free in any case: the drain needs it.
        max_bytes: a segment that has more is sealed, and so is one that is older than `max_age_s`.
    """

    def __init__(
        self,
        root: Path,
        worker_id: str,
        clock: Clock,
        *,
        durability: Durability = "process",
        quota_bytes: int = 2 << 30,
        max_bytes: int = 16 << 20,
        max_age_s: float = 30.0,
        sync_s: float = 0.05,
    ) -> None:
        self._root, self._worker, self._clock = root, worker_id, clock
        self._durability, self._quota_bytes = durability, quota_bytes
        self._max_bytes, self._max_age_s, self._sync_s = max_bytes, max_age_s, sync_s
        # `_lock` is held for a write at the longest, `_syncing` for as long as the disk takes.
        self._lock, self._syncing = threading.Lock(), threading.Lock()
        self._segment: OpenSegment | None = None
        self._full: list[OpenSegment] = []
        self._pending: list[bytes] = []
        self._pending_bytes = self._pending_records = 0
        self._described = dict[str, Description]()
        self._written: OpenSegment | None = None  # the newest record is in it
        self._committing: list[_Commit] = []
        self._dropped = self._written_bytes = self._waiting_bytes = self._room_bytes = 0
        self._dropping = False
        root.mkdir(parents=True, exist_ok=True)
        self._look()
        self._wake, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._keep_synced, name="capture-sync", daemon=True)
        self._thread.start()

    @property
    def state(self) -> CaptureState:
        """How it stands now."""
        return CaptureState(self._dropped, self._written_bytes, self._waiting_bytes)

    async def keep(self, payload: Sequence[bytes], description: Description) -> bool:
        """Keep a record, in parts, as durably as is asked for; False where it was dropped."""
        kept = self.keep_all([(payload, description)])
        return kept if isinstance(kept, bool) else await kept

    def keep_all(self, records: Sequence[Kept]) -> bool | asyncio.Future[bool]:
        """Keep records, all or none: whether they are kept, or, where the disk is waited for, a future of that."""
        if self._durability != "durable":
            return self.write_all(records)
        # One sync for all that wait for it: a group commit.
        committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with self._lock:
            if not self._write(records):
                return False
            self._committing.append((committed, self._written, len(records)))
        self._wake.set()
        return committed

    def write(self, payload: bytes, description: Description) -> bool:
        """Append one record without waiting for the disk; False where it was dropped."""
        return self.write_all([((payload,), description)])

    def write_all(self, records: Sequence[Kept]) -> bool:
        """Append records, all or none, without waiting for the disk; False where they were dropped.

        Their descriptions go before them where the segment does not have those yet.
        """
        with self._lock:
            return self._write(records)

    def lose(self, records: int, why: str) -> None:
        """Count records that can't be handed over any more."""
        with self._lock:
            self._drop(records, why)

    def seal(self) -> None:
        """Close the open segment, so that a drain takes all that was written until now; nothing where there is none."""
        self._sync(seal=True)

    def close(self) -> None:
        """Seal and stop."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self.seal()

    def _write(self, records: Sequence[Kept]) -> bool:
        frames = b"".join([framed(*payload) for payload, _ in records])
        if self._pending_bytes + len(frames) > self._room_bytes:
            why = f"{self._waiting_bytes} bytes wait for the drain, and there is no room for more"
            return self._drop(len(records), why)
        described = {description.id: description for _, description in records}
        if self._durability != "buffered":
            return self._append(frames, described, len(records))
        self._pending.append(frames)
        self._described |= described
        self._pending_bytes, self._pending_records = (
            self._pending_bytes + len(frames),
            self._pending_records + len(records),
        )
        return self._pending_bytes < _BUFFER_BYTES or self._flush()

    def _flush(self) -> bool:
        """Write what is in memory."""
        pending, described, records = self._pending, self._described, self._pending_records
        self._pending, self._pending_bytes, self._pending_records, self._described = [], 0, 0, {}
        return not pending or self._append(b"".join(pending), described, records)

    def _append(self, frames: bytes, described: Mapping[str, Description], records: int) -> bool:
        try:
            segment = self._segment or self._open()
            new = described.keys() - segment.described
            if new:
                frames = b"".join([*(framed(description_payload(described[each])) for each in sorted(new)), frames])
            segment.append(frames)
        except OSError as error:
            return self._drop(records, error.strerror or "the disk refuses")
        self._written = segment
        segment.described |= new
        self._written_bytes += len(frames)
        self._waiting_bytes += len(frames)
        self._room_bytes -= len(frames)
        self._dropping = False
        if segment.size >= self._max_bytes:
            self._retire()
        return True

    def _open(self) -> OpenSegment:
        stem = f"{self._worker}-{epoch_us(self._clock.now())}-{uuid.uuid4().hex[:12]}"
        self._segment = OpenSegment(self._root, stem)
        return self._segment

    def _retire(self) -> None:
        """Leave the open segment to be sealed by whoever syncs next: not by a request."""
        if self._segment:
            self._full.append(self._segment)
            self._segment = None
            self._wake.set()

    def _drop(self, records: int, why: str) -> bool:
        if not self._dropping:
            _LOG.error("capture: records are dropped: %s", why)
        self._dropping = True
        self._dropped += records
        return False

    def _keep_synced(self) -> None:
        looked_s, is_failing = time.monotonic(), False
        while not self._stopping:
            self._wake.wait(self._sync_s)
            self._wake.clear()
            try:
                self._sync()
                if time.monotonic() - looked_s > (_LOOK_S if self._room_bytes > _MUCH_ROOM else self._sync_s):
                    looked_s = time.monotonic()
                    self._look()
                    is_failing = False
            except Exception:  # noqa: BLE001 - the boundary of the loop: whatever is wrong now, the next round may do
                if not is_failing:
                    _LOG.exception("capture: what was written can't be looked after; it is tried again and again")
                is_failing = True

    def _look(self) -> None:
        """See what the other workers wrote and the drain took."""
        before = self._written_bytes
        with suppress(FileNotFoundError):
            waiting = bytes_in(self._root)
            room = min(self._quota_bytes - waiting, free_in(self._root))
            with self._lock:
                since = self._written_bytes - before
                self._waiting_bytes, self._room_bytes = waiting + since, room - since

    def _sync(self, *, seal: bool = False) -> None:
        committing, synced = list[_Commit](), set[OpenSegment | None]()
        try:
            with self._syncing:
                with self._lock:
                    committing, self._committing = self._committing, []
                    self._flush()
                    if seal or (self._segment and self._segment.age_s > self._max_age_s):
                        self._retire()
                    full, self._full = self._full, []
                    segment = self._segment
                # Outside the lock: a slow disk must not hold up a request.
                synced.update([each for each in full if each.seal()])
                if segment and segment.sync():
                    synced.add(segment)
                elif segment:
                    with self._lock:
                        self._retire()
        finally:
            self._settle(committing, synced)

    def _settle(self, committing: Sequence[_Commit], synced: Collection[OpenSegment | None]) -> None:
        """Tell those who wait for a sync, each what became of its own segment, however that ended."""
        if not committing:
            return
        lost = sum(records for _, segment, records in committing if segment not in synced)
        if lost:
            with self._lock:
                self._drop(lost, "the disk does not keep what it was given")
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            committing[0][0].get_loop().call_soon_threadsafe(_tell, committing, synced)


def _tell(committing: Sequence[_Commit], synced: Collection[OpenSegment | None]) -> None:
    for future, segment, _ in committing:
        if not future.done():
            future.set_result(segment in synced)
