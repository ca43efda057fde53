"""Segments: append-only files of frames, and what can still be read of one that was torn or damaged.

A frame is a mark, the length and the CRC-32 of its payload, a checksum of these three, and the payload. It reaches the operating system in one
write, so a killed worker leaves at most one torn frame, at the end. The file's name says what it is: `*.open` is being
written under a lock that dies with its writer, `*.segment` is sealed and never changes again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

OPEN, SEALED, _NEW = ".open", ".segment", ".new"
# Another format of the payloads takes another last byte. No UTF-8 text has the first.
_MARK = b"\xffMR\x03"
_FACTS, _CHECK = struct.Struct("<4sII"), struct.Struct("<H")
_HEADER = struct.Struct("<4sIIH")  # both
_HEADER_BYTES = _HEADER.size
# Of a disk, for the drain: so much, or that part of a small one.
_LEFT_BYTES, _LEFT_PART = 64 << 20, 8
# A file has its name within moments of being made.
_ABANDONED_S = 600.0


def framed(*payload: bytes) -> bytes:
    """A payload, in parts, as a frame."""
    # Joined first: to go through many small parts takes longer than to copy them.
    whole = b"".join(payload)
    facts = _FACTS.pack(_MARK, len(whole), zlib.crc32(whole))
    return b"".join((facts, _CHECK.pack(zlib.crc32(facts) & 0xFFFF), whole))


class OpenSegment:
    """The segment that a worker writes. Not thread-safe, but `sync` may run beside `append`.

    Attributes:
        size: bytes of whole frames.
        described: ids of the descriptions that it has.
    """

    def __init__(self, root: Path, stem: str) -> None:
        # Locked before it has its name: whoever finds an unlocked *.open knows that its writer is dead.
        new, self._path = root / (stem + _NEW), root / (stem + OPEN)
        self._fd = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            new.rename(self._path)
        except OSError:
            os.close(self._fd)
            raise
        self._opened, self._dirty, self._named, self._failed = time.monotonic(), False, False, False
        self.size, self.described = 0, set[str]()

    @property
    def age_s(self) -> float:
        """How long it has been open."""
        return time.monotonic() - self._opened

    def append(self, frames: bytes) -> None:
        """Write frames, in one system call: all of them or none.

        Raises:
            OSError: there is no room.
        """
        written = 0
        try:
            written = os.write(self._fd, frames)
        finally:
            if written < len(frames):
                self._cut()
        if written < len(frames):
            raise OSError(errno.ENOSPC, "no space left for a whole record")
        self.size += written
        self._dirty = True

    def _cut(self) -> None:
        """Take a torn frame away; where even that fails it stays, and readers find the frames behind it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self.size)
        self.size = os.fstat(self._fd).st_size

    def sync(self) -> bool:
        """Bring what was written to the disk; whether it is there. After one that failed it is not, and never will be."""
        # The system forgets what it could not write: another sync would find nothing to do, and say that all is well.
        if self._failed:
            return False
        dirty, self._dirty = self._dirty, False
        try:
            if dirty:
                os.fdatasync(self._fd)
            if not self._named:
                _sync_folder(self._path.parent)
                self._named = True
        except OSError:
            self._failed = True
            return False
        return True

    def seal(self) -> bool:
        """Give the file its final name; whether all of it is on the disk.

        Where the name can't be given it stays open by name, and is recovered when we are gone.
        """
        synced = self.sync()
        with contextlib.suppress(OSError):
            self._path.rename(self._path.with_suffix(SEALED))
        with contextlib.suppress(OSError):  # it is closed all the same
            os.close(self._fd)
        return synced


def recover(root: Path) -> int:
    """Seal the segments that dead workers have left open; how many. Safe beside living workers and other recoveries.

    Files that somebody died over before they had their name are deleted: nothing was promised of what is in them.
    """
    for path in root.glob("*" + _NEW):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
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


def bytes_in(root: Path) -> int:
    """How much the files of a capture folder take."""
    total = 0
    with os.scandir(root) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # drained meanwhile
                total += entry.stat().st_size
    return total


def free_in(root: Path) -> int:
    """How much may still be written to the folder's disk; a little is left to the drain, which makes room there."""
    disk = os.statvfs(root)
    left = min(_LEFT_BYTES, disk.f_blocks * disk.f_frsize // _LEFT_PART)
    return disk.f_bavail * disk.f_frsize - left


@dataclass(frozen=True, slots=True)
class Contents:
    """What a segment has.

    Attributes:
        payloads: of the whole frames, in order.
        damaged: the stretches between them in which there is no whole frame.
    """

    payloads: list[bytes]
    damaged: list[bytes]


def read_segment(path: Path) -> Contents:
    """Read a segment, past what is damaged. A torn frame at its end, whose writer never came to say so, is left out."""
    data = path.read_bytes()
    contents = Contents([], [])
    at = 0
    while at < len(data):
        payload = _payload(data, at)
        if payload is not None:
            contents.payloads.append(payload)
            at += _HEADER_BYTES + len(payload)
            continue
        following = _following(data, at)
        if following == len(data) and _is_torn(data, at):
            break
        contents.damaged.append(data[at:following])
        at = following
    return contents


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file that is there as a whole or not at all, also after a power cut."""
    draft = path.with_name(path.name + _NEW)
    with draft.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _stated(data: bytes, at: int) -> tuple[int, int] | None:
    """Length and checksum of the payload, as the header that begins here says; None where there is no whole header."""
    if at + _HEADER_BYTES > len(data):
        return None
    mark, length, checksum, check = _HEADER.unpack_from(data, at)
    if mark != _MARK or zlib.crc32(data[at : at + _FACTS.size]) & 0xFFFF != check:
        return None
    return length, checksum


def _payload(data: bytes, at: int) -> bytes | None:
    """The payload of the frame that begins here; None where there is no whole one."""
    stated = _stated(data, at)
    if stated is None or at + _HEADER_BYTES + stated[0] > len(data):
        return None
    payload = data[at + _HEADER_BYTES : at + _HEADER_BYTES + stated[0]]
    return payload if zlib.crc32(payload) == stated[1] else None


def _following(data: bytes, at: int) -> int:
    """Where reading goes on behind a damaged frame: at the next whole one, else at the end."""
    # Where only the payload is damaged, the header says where it ends: a frame that a caller put into a request is not
    # taken for one of ours.
    stated = _stated(data, at)
    if stated is not None and at + _HEADER_BYTES + stated[0] <= len(data):
        return at + _HEADER_BYTES + stated[0]
    found = data.find(_MARK, at + 1)
    while found >= 0 and _payload(data, found) is None:
        found = data.find(_MARK, found + 1)
    return len(data) if found < 0 else found


def _is_torn(data: bytes, at: int) -> bool:
    rest = data[at : at + _HEADER_BYTES]
    if len(rest) < _HEADER_BYTES:
        return rest[: len(_MARK)] == _MARK[: len(rest)]
    stated = _stated(data, at)
    return stated is not None and at + _HEADER_BYTES + stated[0] > len(data)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
