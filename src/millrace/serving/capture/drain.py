"""From segments to Delta, exactly once.

A drain works in numbered batches. The journal beside the segments names the batch that is under way; each table's commit
carries the batch's number as its transaction, so that a commit that is already there is skipped; the batch's segments are
deleted when all tables have it, or its part for a table that refuses is held. A drain that is killed is repeated from its
journal.
"""

from __future__ import annotations

import logging
import os
import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from millrace.core.errors import MillraceError
from millrace.lake.lake import Lake
from millrace.serving.capture.held import Held, Part, set_aside
from millrace.serving.capture.inference_log import Group, append_payload, append_predictions
from millrace.serving.capture.journal import Batch, Journal
from millrace.serving.capture.records import Record, description_payload, read_payload
from millrace.serving.capture.segments import framed, read_segment, recover
from millrace.serving.types import Description, DrainResult

_LOCK = "drain.lock"
_APPEND = {"payload": append_payload, "predictions": append_predictions}
_LOG = logging.getLogger(__name__)


def drain(lake: Lake, capture_root: Path) -> DrainResult:
    """Move all sealed segments, and those of dead workers, into the inference tables; then delete them.

    Exactly once, whenever it is killed: call it again and it goes on. One drain at a time: a second waits for the first.
    Which tables the records go to is in the segments; tables are made where they are missing. Commits carry the time of
    the lake's clock, a few per 16 MB of segments.

    A table that can't take its rows is logged and gets them later, in order; the others have theirs. What can't be read
    or converted is put aside and logged.
    """
    if not capture_root.is_dir():
        return DrainResult(0, 0, 0)
    with FileLock(capture_root / _LOCK):
        recover(capture_root)
        journal = Journal.open(capture_root)
        work = _Drain(lake, capture_root, f"capture-{journal.application}")
        work.try_held()
        for batch in journal.batches():
            work.take(batch)
            work.settle()
            batch.finish()
        return work.result()


@dataclass
class _Drain:
    lake: Lake
    root: Path
    application: str
    segments: int = 0
    requests: int = 0
    rows: int = 0
    aside: int = 0
    unsettled: bool = False
    held: Held = field(init=False)

    def __post_init__(self) -> None:
        self.held = Held(self.root)

    def result(self) -> DrainResult:
        return DrainResult(self.segments, self.requests, self.rows, len(self.held.parts()), self.aside)

    def try_held(self) -> None:
        """Offer what waits to its tables again, in order, up to the first that a table still refuses.

        What was damaged meanwhile is set aside when the rest is in its table; where nothing is left, at once.
        """
        refusing, done = set[tuple[str, str]](), list[Part]()
        for part in self.held.parts():
            if part.table in refusing:
                continue
            found = _read([self.held.path(part)])
            if not found.groups or self._append(part, found.groups):
                self._set_aside(f"{part.stem}-damaged", found.rest, len(found.rest))
                done.append(part)
            else:
                refusing.add(part.table)
        self.settle()
        for part in done:
            self.held.done(part)

    def settle(self) -> None:
        """Bring all that was committed to the disk: Delta's writer does not, and what was on the disk is deleted next.

        That brings all there of the whole machine, so it is done only where something was committed, and once for all of it.
        """
        if self.unsettled:
            os.sync()
        self.unsettled = False

    def take(self, batch: Batch) -> None:
        """Bring a batch's records to their tables, or hold them for those."""
        found = _read(batch.paths())
        self._set_aside(f"{batch.number:012d}", found.rest, len(found.rest))
        by_prefix: defaultdict[str, list[Group]] = defaultdict(list)
        for group in found.groups:
            by_prefix[group.description.table_prefix].append(group)
            self.requests += len(group.records)
            self.rows += sum(record.rows for record in group.records)
        for prefix, groups in by_prefix.items():
            self._deliver(Part.of(batch.number, "payload", prefix), groups)
            predicting = [group for group in groups if group.description.kind == "models"]
            if predicting:
                self._deliver(Part.of(batch.number, "predictions", prefix), predicting)
        self.segments += len(batch.segments)

    def _deliver(self, part: Part, groups: Sequence[Group]) -> None:
        # Behind what waits for the table already: a later number in its log would hide the earlier ones.
        if part.table in self.held.tables() or not self._append(part, groups):
            self.held.put(part, _payloads(groups))

    def _append(self, part: Part, groups: Sequence[Group]) -> bool:
        prefix = groups[0].description.table_prefix
        self.unsettled = True  # also where it fails: part of it may be there
        try:
            unfit = _APPEND[part.kind](self.lake, prefix, groups, (self.application, part.number))
        except MillraceError as error:
            _LOG.warning("capture: rows wait for %s_%s: %s", prefix, part.kind, error.message)
            return False
        except Exception:  # noqa: BLE001 - the boundary of a table: whatever is wrong with it, the others go on
            _LOG.exception("capture: rows wait for %s_%s", prefix, part.kind)
            return False
        self._set_aside(part.stem, map(framed, _payloads(unfit)), sum(len(group.records) for group in unfit))
        return True

    def _set_aside(self, stem: str, parts: Iterable[bytes], count: int) -> None:
        if count:
            set_aside(self.root, stem, parts, count)
            self.aside += count


@dataclass(frozen=True, slots=True)
class _Found:
    """What is in some segments: records by description, stretches without a frame, and frames of no use."""

    groups: list[Group]
    damaged: list[bytes]
    useless: list[bytes]

    @property
    def rest(self) -> list[bytes]:
        """What goes to no table, as it is set aside."""
        return [*self.damaged, *map(framed, self.useless)]


def _read(paths: Sequence[Path]) -> _Found:
    descriptions: dict[str, Description] = {}
    records: defaultdict[str, list[Record]] = defaultdict(list)
    found = _Found([], [], [])
    for path in paths:
        contents = read_segment(path)
        found.damaged.extend(contents.damaged)
        for payload in contents.payloads:
            try:
                read = read_payload(payload)
            except (LookupError, TypeError, ValueError, struct.error):
                found.useless.append(payload)
                continue
            if isinstance(read, Description):
                descriptions[read.id] = read
            else:
                records[read.description].append(read)
    # Only now: a description that was damaged in one segment may be whole in another.
    for name, described in records.items():
        if name in descriptions:
            found.groups.append(Group(descriptions[name], described))
        else:
            found.useless.extend(record.payload for record in described)
    return found


def _payloads(groups: Iterable[Group]) -> Iterable[bytes]:
    for group in groups:
        yield description_payload(group.description)
        yield from (record.payload for record in group.records)
