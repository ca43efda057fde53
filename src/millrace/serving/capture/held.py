"""Records that wait for a table that refuses them, and what no table can take: neither holds up the rest.

Both are files beside the segments, in the segments' form, and count for the capture's quota.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from millrace.serving.capture.segments import framed, write_whole

HELD, ASIDE = ".held", ".aside"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """What one batch has for one table.

    Attributes:
        number: the batch's.
        kind: `payload` or `predictions`.
        prefix: the table's name before that, as a digest: a file's name can't hold each of them.
    """

    number: int
    kind: str
    prefix: str

    @classmethod
    def of(cls, number: int, kind: str, prefix: str) -> Part:
        """The part for the table `<prefix>_<kind>`."""
        return cls(number, kind, hashlib.sha256(prefix.encode()).hexdigest()[:16])

    @property
    def stem(self) -> str:
        """Its file's name; in order of numbers."""
        return f"{self.number:012d}-{self.kind}-{self.prefix}"

    @classmethod
    def read(cls, path: Path) -> Part | None:
        """The other way; None for a file that is no part."""
        found = re.fullmatch(r"(\d{12,})-(payload|predictions)-([0-9a-f]{16})", path.stem)
        return None if found is None else cls(int(found[1]), found[2], found[3])

    @property
    def table(self) -> tuple[str, str]:
        """Which table it is for."""
        return self.kind, self.prefix


class Held:
    """The parts that wait. A table's wait in the order of their numbers, and no later one overtakes them.

    So each is committed under its own batch's number, and a commit that did succeed, whatever its caller was told, is
    seen in the table's log.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def parts(self) -> list[Part]:
        """All, in order."""
        return sorted(part for path in self._root.glob("*" + HELD) if (part := Part.read(path)) is not None)

    def tables(self) -> set[tuple[str, str]]:
        """The tables that some part waits for."""
        return {part.table for part in self.parts()}

    def path(self, part: Part) -> Path:
        """The file of a part."""
        return self._root / (part.stem + HELD)

    def put(self, part: Part, payloads: Iterable[bytes]) -> None:
        """Let a part wait."""
        write_whole(self.path(part), map(framed, payloads))

    def done(self, part: Part) -> None:
        """Forget a part: the table has it."""
        self.path(part).unlink()


def set_aside(root: Path, stem: str, parts: Iterable[bytes], count: int) -> None:
    """Keep for people what can't be drained: frames of no use, and stretches of segments without a whole frame."""
    path = root / (stem + ASIDE)
    write_whole(path, parts)
    _LOG.error("capture: %d records or damaged stretches could not be drained; they are in %s", count, path)
