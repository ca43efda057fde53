"""From segments to Delta, exactly once.

A drain works in numbered batches. The journal beside the segments names the batch that is under way; each table's commit
carries the batch's number as its transaction, so that a commit that is already there is skipped; the batch's segments are
deleted when all tables have it. A drain that is killed is repeated from its journal.
"""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from filelock import FileLock

from millrace.core.errors import MillraceError
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition
from millrace.serving.capture import read_segment, recover, sealed
from millrace.serving.types import Description, DrainResult

if TYPE_CHECKING:
    import pyarrow as pa

_Group = tuple[Description, list[Mapping[str, Any]]]
_JOURNAL, _LOCK = "drain.json", "drain.lock"
# About twenty thousand requests: bounds the memory of a drain.
_BATCH_BYTES = 16 << 20


def drain(lake: Lake, capture_root: Path) -> DrainResult:
    """Move all sealed segments, and those of dead workers, into the inference tables; then delete them.

    Exactly once, whenever it is killed: call it again and it goes on. One drain at a time: a second waits for the first.
    Which tables the records go to is in the segments; tables are made where they are missing. Commits carry the time of
    the lake's clock, a few per 16 MB of segments.

    Raises:
        MillraceError: a table can't take its rows; its segments stay, the other tables have theirs.
    """
    total = DrainResult(0, 0, 0)
    if not capture_root.is_dir():
        return total
    with FileLock(capture_root / _LOCK):
        recover(capture_root)
        journal = _Journal.open(capture_root)
        for batch in journal.batches():
            done = _commit(lake, batch)
            batch.finish()
            total = DrainResult(total.segments + done.segments, total.requests + done.requests, total.rows + done.rows)
    return total


@dataclass(frozen=True, slots=True)
class _Batch:
    """Segments that go to Delta together, under one transaction."""

    root: Path
    application: str
    number: int
    segments: tuple[str, ...]

    @property
    def transaction(self) -> tuple[str, int]:
        return f"capture-{self.application}", self.number

    def paths(self) -> list[Path]:
        return [self.root / name for name in self.segments]

    def finish(self) -> None:
        """Delete the segments: all tables have them."""
        for path in self.paths():
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Journal:
    """Which batch is under way. `application` tells this folder's batches from any other's in a table's log."""

    root: Path
    application: str
    number: int
    segments: tuple[str, ...]

    @classmethod
    def open(cls, root: Path) -> _Journal:
        with suppress(FileNotFoundError):
            content = orjson.loads((root / _JOURNAL).read_bytes())
            return cls(root, content["application"], content["number"], tuple(content["segments"]))
        return cls(root, uuid.uuid4().hex, 0, ())

    def batches(self) -> Iterator[_Batch]:
        """The batch under way, then the segments that wait. Each must be committed and finished before the next is asked."""
        journal = self
        while True:
            batch = _Batch(self.root, journal.application, journal.number, journal.segments)
            # A missing segment means that the batch was killed while deleting: all tables have it.
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
        draft = self.root / (_JOURNAL + ".new")
        content = {"application": self.application, "number": self.number, "segments": self.segments}
        with draft.open("wb") as file:
            file.write(orjson.dumps(content))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.root / _JOURNAL)


def _next_segments(root: Path) -> tuple[str, ...]:
    names: list[str] = []
    size = 0
    for path in sealed(root):
        size += path.stat().st_size
        if names and size > _BATCH_BYTES:
            break
        names.append(path.name)
    return tuple(names)


def _commit(lake: Lake, batch: _Batch) -> DrainResult:
    groups = _groups(batch.paths())
    by_prefix: defaultdict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        by_prefix[group[0].table_prefix].append(group)
    failures: list[MillraceError] = []
    for prefix, mine in by_prefix.items():
        try:
            _commit_tables(lake, prefix, mine, batch.transaction)
        except MillraceError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    records = [record for _, mine in groups for record in mine]
    return DrainResult(len(batch.segments), len(records), sum(len(record["rows"]) for record in records))


def _groups(paths: Sequence[Path]) -> list[_Group]:
    """The records of all segments by what they have in common, each group in the order of its segments."""
    groups: dict[str, _Group] = {}
    for path in paths:
        for payload in read_segment(path):
            content: Any = payload["description"]
            if isinstance(content, dict):
                groups.setdefault(content["id"], (_description(content), []))
            else:
                groups[content][1].append(payload)
    return [group for group in groups.values() if group[1]]


def _description(content: Mapping[str, Any]) -> Description:
    pairs = {name: tuple((column, kind) for column, kind in content[name]) for name in ("keys", "inputs")}
    return Description(**{**content, **pairs})


def _commit_tables(lake: Lake, prefix: str, groups: Sequence[_Group], transaction: tuple[str, int]) -> None:
    import pyarrow as pa

    from millrace.serving import inference_tables as tables

    payload = pa.concat_tables([tables.payload_table(*group) for group in groups])
    endpoint = groups[-1][0].endpoint
    lake.ensure(f"{prefix}_payload", payload.schema, _definition(f"Requests to the endpoint {endpoint}", endpoint))
    lake.append(f"{prefix}_payload", payload, f"requests to {endpoint}", transaction)
    _commit_predictions(lake, prefix, [group for group in groups if group[0].kind == "models"], transaction)


def _commit_predictions(lake: Lake, prefix: str, groups: Sequence[_Group], transaction: tuple[str, int]) -> None:
    import pyarrow as pa

    from millrace.serving import inference_tables as tables

    if not groups:
        return
    endpoint = groups[-1][0].endpoint
    name = f"{prefix}_predictions"
    wanted = _merged([tables.predictions_schema(*group) for group in groups])
    lake.ensure(name, wanted, _definition(f"Predictions of the endpoint {endpoint}, row by row", endpoint))
    schema = _stored_types(lake.schema(name), wanted)
    rows = [tables.predictions_table(*group, schema) for group in groups]
    lake.append(name, pa.concat_tables(rows, promote_options="default"), f"predictions of {endpoint}", transaction)


def _definition(description: str, endpoint: str) -> TableDefinition:
    return TableDefinition(description=description, role="inference_log", properties={"endpoint": endpoint})


def _merged(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """All columns; the first type of each counts."""
    import pyarrow as pa

    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in schema:
            fields.setdefault(field.name, field)
    return pa.schema(fields.values())


def _stored_types(stored: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The wanted columns, those that are stored already in the stored type."""
    import pyarrow as pa

    known = set(stored.names)
    return pa.schema([stored.field(field.name) if field.name in known else field for field in wanted])
