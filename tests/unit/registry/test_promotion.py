"""Promotion and rollback, also where they were interrupted at any point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidState, NotFound
from millrace.core.events import Event
from millrace.core.principal import Principal
from millrace.registry.promotion import promote, rollback
from millrace.registry.types import ModelName, ModelVersion, Promotion, VersionEntry

MODEL = ModelName("ml.models.churn")
NOW = datetime(2025, 3, 1, tzinfo=UTC)


class Crash(Exception):
    """The process ends here."""


@dataclass
class World:
    """Registry, log and events in memory; writes after the first `writes` ones crash. A move writes twice: the alias, and its tag."""

    aliases: dict[str, ModelVersion] = field(default_factory=dict)
    tagged: dict[str, ModelVersion] = field(default_factory=dict)
    promotions: list[Promotion] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    writes: int = 10**6

    def write(self) -> None:
        if self.writes == 0:
            raise Crash
        self.writes -= 1


@dataclass
class MemoryRegistry:
    """Five versions and their aliases."""

    world: World

    def version(self, model: ModelName, version: ModelVersion) -> VersionEntry:
        if model != MODEL or version not in "12345":
            raise NotFound(f"{model} has no version {version}")
        return VersionEntry(model, version, "models:/m-1", None, NOW)

    def by_alias(self, model: ModelName, alias: str) -> VersionEntry | None:
        found = self.world.aliases.get(alias)
        return None if found is None else self.version(model, found)

    def set_alias(self, model: ModelName, alias: str, version: ModelVersion) -> None:
        assert model == MODEL
        self.world.write()
        self.world.aliases[alias] = version
        if self.world.tagged.get(alias) != version:
            self.world.write()
            self.world.tagged[alias] = version

    def register(
        self, model: ModelName, source: str, run_id: str | None, tags: Mapping[str, str], key: str | None = None
    ) -> VersionEntry:
        raise NotImplementedError

    def versions(self, model: ModelName) -> Sequence[VersionEntry]:
        raise NotImplementedError

    def models(self) -> Sequence[ModelName]:
        raise NotImplementedError

    def remove_alias(self, model: ModelName, alias: str) -> None:
        raise NotImplementedError

    def tag(self, model: ModelName, version: ModelVersion, tags: Mapping[str, str]) -> None:
        raise NotImplementedError

    def download(self, model: ModelName, version: ModelVersion) -> Path:
        raise NotImplementedError


@dataclass
class MemoryLogs:
    """The promotion log."""

    world: World

    def append(self, promotion: Promotion) -> None:
        self.world.write()
        self.world.promotions.append(promotion)

    def read(self, model: ModelName | None = None) -> Sequence[Promotion]:
        return [each for each in self.world.promotions if model in (None, each.model)]


@dataclass
class MemoryEvents:
    """The event log."""

    world: World

    def append(self, event: Event) -> int:
        self.world.write()
        self.world.events.append(replace(event, cursor=len(self.world.events) + 1))
        return len(self.world.events)

    def read(
        self, *, after: int = 0, kind: str | None = None, subject: str | None = None, limit: int = 1000
    ) -> Sequence[Event]:
        assert (kind, subject) == ("alias.moved", MODEL)
        return self.world.events[after:][: min(limit, 2)]  # small pages

    def newest(self) -> int:
        return len(self.world.events)


def actions(world: World) -> tuple[Callable[..., Promotion], Callable[..., Promotion]]:
    """`promote` and `rollback` in a world."""
    given_parts = (
        MemoryRegistry(world),
        MemoryLogs(world),
        MemoryEvents(world),
        ManualClock(NOW),
        Principal("user", "ada"),
    )
    return (
        lambda version, alias="production", **more: promote(
            *given_parts, MODEL, ModelVersion(version), alias, why="better", **more
        ),
        partial(rollback, *given_parts, MODEL, why="it misbehaves"),
    )


def test_the_first_promotion_replaces_nothing_and_is_written_down() -> None:
    world = World()
    promote_to, _ = actions(world)
    done = promote_to("1", verdict={"passed": True})
    assert done == Promotion(MODEL, ModelVersion("1"), "production", None, NOW, "user:ada", "better", {"passed": True})
    assert world.aliases == {"production": "1"}
    assert world.promotions == [done]
    [event] = world.events
    assert (event.kind, event.subject, event.at) == ("alias.moved", MODEL, NOW)
    assert event.data == {"alias": "production", "version": "1", "replaced": None, "why": "better"}


def test_production_keeps_the_way_back_and_staging_does_not() -> None:
    world = World()
    promote_to, _ = actions(world)
    promote_to("1")
    promote_to("2", "staging")
    done = promote_to("2")
    assert done.replaced == "1"
    assert promote_to("3", "staging").replaced == "2"
    assert world.aliases == {"production": "2", "staging": "3", "previous": "1"}


def test_promoting_what_is_there_changes_and_logs_nothing() -> None:
    world = World()
    promote_to, _ = actions(world)
    first = promote_to("1")
    world.writes = 0
    assert promote_to("1") == first


def test_an_unknown_version_moves_nothing() -> None:
    world = World(writes=0)
    promote_to, _ = actions(world)
    with pytest.raises(NotFound):
        promote_to("9")


def test_rollback_swaps_and_twice_is_back() -> None:
    world = World()
    promote_to, back = actions(world)
    promote_to("1")
    promote_to("2")
    done = back()
    assert (done.version, done.replaced, done.why) == ("1", "2", "it misbehaves")
    assert world.aliases == {"production": "1", "previous": "2"}
    assert back().version == "2"
    assert world.aliases == {"production": "2", "previous": "1"}
    assert [each.version for each in world.promotions] == ["1", "2", "1", "2"]


def test_nothing_to_roll_back_is_said_with_a_hint() -> None:
    promote_to, back = actions(World())
    with pytest.raises(InvalidState, match="no version in production"):
        back()
    promote_to("1")
    with pytest.raises(InvalidState, match="no previous version to go back to\n  hint: a rollback is possible"):
        back()


@given(st.integers(0, 6), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_interrupted_promotion_is_completed_by_the_next_one(crash_after: int, before: int) -> None:
    world = World()
    promote_to, _ = actions(world)
    for version in range(1, before + 1):
        promote_to(str(version))
    world.writes = crash_after
    try:
        promote_to("5")
    except Crash:
        world.writes = 10**6
        promote_to("5")
    world.writes = 10**6
    replaced = str(before) if before else None
    assert world.aliases == {"production": "5"} | ({"previous": replaced} if replaced else {})
    assert world.tagged == world.aliases
    assert [each.version for each in world.promotions] == [*"123"[:before], "5"]
    assert world.promotions[-1].replaced == replaced
    assert [event.data["version"] for event in world.events] == [each.version for each in world.promotions]
    promote_to("5")
    assert len(world.events) == before + 1


@given(st.integers(0, 5))
@settings(max_examples=8, deadline=None)
def test_an_interrupted_rollback_is_completed_by_the_next_one(crash_after: int) -> None:
    world = World()
    promote_to, back = actions(world)
    promote_to("1")
    promote_to("2")
    world.writes = crash_after
    with pytest.raises(Crash):
        back()
    world.writes = 10**6
    done = back()
    assert (done.version, done.replaced) == ("1", "2")
    assert world.tagged == world.aliases == {"production": "1", "previous": "2"}
    assert [each.version for each in world.promotions] == ["1", "2", "1"]
    assert [event.data["version"] for event in world.events] == ["1", "2", "1"]


def test_a_rollback_after_a_promotion_that_only_got_to_previous_goes_to_the_real_previous() -> None:
    world = World()
    promote_to, back = actions(world)
    promote_to("1")
    promote_to("2")
    world.writes = 2
    with pytest.raises(Crash):
        promote_to("3")
    assert world.aliases == {"production": "2", "previous": "2"}
    world.writes = 10**6
    assert back().version == "1"
    assert world.aliases == {"production": "1", "previous": "2"}
