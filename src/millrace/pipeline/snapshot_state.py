"""How far a computed table is: kept with the table, written after each chunk, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from millrace.core.clock import iso, parse_time
from millrace.pipeline.port import Services
from millrace.pipeline.snapshots import STATE


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Snapshots that are being made anew, aside, to be put into the table all at once.

    Attributes:
        code: hash of the code that makes them.
        first: the first snapshot that is made anew.
        last: the last one.
        whole: whether they are all that the table will have.
        done_to: the newest that is made; None: none.
        sources: source versions that they are made from, by table.
        why: for people.
        identities: what those versions are versions of, by table; see `changes.identities`.
    """

    code: str
    first: datetime
    last: datetime
    whole: bool
    sources: dict[str, int]
    why: str
    done_to: datetime | None = None
    identities: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """How far a computed table is.

    Attributes:
        code: hash of the code that made its snapshots.
        first: its first snapshot.
        last: its newest snapshot; None: none is finished.
        sources: source versions that it agrees with, by table.
        rebuild: what is being made anew, if anything is.
        identities: what those versions are versions of, by table; see `changes.identities`.
    """

    code: str
    first: datetime
    last: datetime | None
    sources: dict[str, int] = field(default_factory=dict)
    rebuild: Rebuild | None = None
    identities: dict[str, str] = field(default_factory=dict)


def load_state(services: Services, table: str) -> SnapshotState | None:
    """The state of a table; None where it is not there, or no pipeline made it."""
    if not services.lake.exists(table):
        return None
    kept = services.lake.entry(table).definition.properties.get(STATE)
    return None if kept is None else _from_json(cast("Mapping[str, object]", kept))


def save_state(services: Services, table: str, state: SnapshotState) -> None:
    """Keep the state with its table."""
    properties = services.lake.entry(table).definition.properties
    services.lake.describe(table, properties={**properties, STATE: _to_json(state)})


def _to_json(state: SnapshotState) -> dict[str, object]:
    kept: dict[str, object] = {
        "code": state.code,
        "first": iso(state.first),
        "last": _text(state.last),
        "sources": dict(state.sources),
        "identities": dict(state.identities),
    }
    if (rebuild := state.rebuild) is not None:
        kept["rebuild"] = {
            "code": rebuild.code,
            "first": iso(rebuild.first),
            "last": iso(rebuild.last),
            "whole": rebuild.whole,
            "done_to": _text(rebuild.done_to),
            "sources": dict(rebuild.sources),
            "why": rebuild.why,
            "identities": dict(rebuild.identities),
        }
    return kept


def _from_json(kept: Mapping[str, object]) -> SnapshotState:
    rebuild = cast("Mapping[str, object] | None", kept.get("rebuild"))
    last = _time(kept.get("last"))
    # Homes made before the first snapshot was kept have a state without it.
    first = _time(kept.get("first")) or last or parse_time("1970-01-01")
    return SnapshotState(
        code=str(kept["code"]),
        first=first,
        last=last,
        sources=_versions(kept.get("sources")),
        rebuild=None if rebuild is None else _rebuild(rebuild),
        identities=_texts(kept.get("identities")),
    )


def _rebuild(kept: Mapping[str, object]) -> Rebuild:
    return Rebuild(
        code=str(kept["code"]),
        first=parse_time(str(kept["first"])),
        last=parse_time(str(kept["last"])),
        whole=bool(kept["whole"]),
        sources=_versions(kept["sources"]),
        why=str(kept["why"]),
        done_to=_time(kept["done_to"]),
        identities=_texts(kept.get("identities")),
    )


def _versions(kept: object) -> dict[str, int]:
    return {name: int(version) for name, version in cast("Mapping[str, int]", kept or {}).items()}


def _texts(kept: object) -> dict[str, str]:
    # Homes made before identities were kept have none: their versions are taken for what they say.
    return dict(cast("Mapping[str, str]", kept or {}))


def _text(time: datetime | None) -> str | None:
    return None if time is None else iso(time)


def _time(text: object) -> datetime | None:
    return None if text is None else parse_time(str(text))
