"""The drain's journal: which segments are under way to the lake, under which number."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from millrace.serving.capture.segments import sealed, write_whole

_JOURNAL = "drain.json"
# About twenty thousand requests: bounds the memory of a drain.
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Segments that go to Delta together, under one transaction."""

    root: Path
    application: str
    number: int
    segments: tuple[str, ...]

    def paths(self) -> list[Path]:
        """The segments' files."""
        return [self.root / name for name in self.segments]

    def finish(self) -> None:
        """Delete the segments: nothing needs them any more."""
        for path in self.paths():
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Journal:
    """Which batch is under way. `application` tells this folder's batches from any other's in a table's log."""

    root: Path
    application: str
    number: int
    segments: tuple[str, ...]

    @classmethod
    def open(cls, root: Path) -> Journal:
        """The folder's journal, begun where there is none."""
        with suppress(FileNotFoundError):
            content = orjson.loads((root / _JOURNAL).read_bytes())
            return cls(root, content["application"], content["number"], tuple(content["segments"]))
        return cls(root, uuid.uuid4().hex, 0, ())

    def batches(self) -> Iterator[Batch]:
        """The batch under way, then the segments that wait. Each must be dealt with before the next is asked for."""
        journal = self
        while True:
            batch = Batch(self.root, journal.application, journal.number, journal.segments)
            # A missing segment means that the batch was killed while deleting: it was dealt with.
            if batch.segments and all(path.exists() for path in batch.paths()):
                yield batch
            batch.finish()
            waiting = _next_segments(self.root)
            if not waiting:
                replace(journal, segments=()).write()
                return
            journal = replace(journal, number=journal.number + 1, segments=waiting)
            journal.write()

    def write(self) -> None:
        """Make it the folder's journal."""
        content = {"application": self.application, "number": self.number, "segments": self.segments}
        write_whole(self.root / _JOURNAL, [orjson.dumps(content)])


def _next_segments(root: Path) -> tuple[str, ...]:
    names: list[str] = []
    size = 0
    for path in sealed(root):
        size += path.stat().st_size
        if names and size > _BATCH_BYTES:
            break
        names.append(path.name)
    return tuple(names)
