"""One seed's worth of watching: a reference, then years without a change and months with one, judged by the code that a home runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import alarms_world as worlds
import numpy as np
import pyarrow as pa
from alarms_world import Change, Day, World

from millrace.alerts import episodes
from millrace.alerts.types import AlertRule, Observation
from millrace.monitoring.counts.count import count_version
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.judge import judge
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.pipeline.upkeep import Alert, Monitor

YEAR = 365
BEFORE, AFTER = 30, 40  # days before a change and from it on
LABEL_DELAY = 30
_CHUNK_ROWS = 200_000
_FEATURES = (*worlds.NUMERIC, *worlds.TEXT)
_BAD = {"drift", "degraded", "broken"}
_GOOD = {"ok", "explained"}
START = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=worlds.FIRST_DAY)
SPEC = MonitorSpec(
    "logs.p",
    "metrics",
    effect_floor=0.05,
    false_alarms_per_year=Monitor().false_alarms_per_year,
)


@dataclass(frozen=True)
class Opened:
    """An episode that opened at the end of a day: its kind, and why."""

    day: int
    kind: str
    reason: str


@dataclass(frozen=True)
class Watched:
    """What came of one seed in one setting.

    Attributes:
        quiet: episodes of a year in which nothing changed.
        delays: kind of change to days until the first episode, from 0 for the same day; None where it was missed, -1 where one was open already.
        alert_days: rule to how many days of the year it raised an alert; episodes of it, merged as ours are.
    """

    quiet: Sequence[Opened]
    delays: Mapping[str, int | None]
    rules: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def reference(world: World) -> ReferenceProfile:
    """As a training run makes it: all rows, and answers on the holdout."""
    rows = worlds.table(worlds.reference_days(world))
    unseen = np.arange(rows.num_rows) >= rows.num_rows * (1 - worlds.HOLDOUT_DAYS / worlds.REFERENCE_DAYS)
    answers = {
        name: pa.array(rows[name].to_numpy(), mask=~unseen) for name in ("probability", "prediction", "actual_label")
    }
    return ReferenceProfile.build(
        rows.select(_FEATURES),
        answers["probability"],
        answers["actual_label"],
        predictions=answers["prediction"],
        timestamps=rows["timestamp"].combine_chunks(),
    )


def counted(world: World, profile: ReferenceProfile, change: Change, days: Iterable[int]) -> list[WindowCounts]:
    """Days, made and counted a few at a time."""
    windows: list[WindowCounts] = []
    chunk: dict[int, Day] = {}
    rows = 0
    for number in days:
        chunk[number] = world.day(number, world.rows(), change)
        rows += len(chunk[number].label)
        if rows > _CHUNK_ROWS:
            windows += _counted(profile, chunk)
            chunk, rows = {}, 0
    return windows + (_counted(profile, chunk) if chunk else [])


def _counted(profile: ReferenceProfile, days: dict[int, Day]) -> Sequence[WindowCounts]:
    log = worlds.table(days)
    numbers = log["timestamp"].cast(pa.int64()).to_numpy() // worlds.DAY_US
    return count_version(log, numbers, SPEC, profile)


def judged(profile: ReferenceProfile, windows: Sequence[WindowCounts]) -> list[WindowVerdict]:
    """All that a home says of them."""
    return list(judge(SPEC, "1", profile, windows))


def opened(verdicts: Sequence[WindowVerdict]) -> list[Opened]:
    """The episodes that the default alert rule opens, each kind for itself, each resolved before the next."""
    alert = Alert()
    rule = AlertRule("alarms", breaches=alert.breaches, out_of=alert.out_of, resolve_after=alert.resolve_after)
    found: list[Opened] = []
    for kind in sorted({one.kind for one in verdicts}):
        left = episodes.conclusive([_observation(one) for one in verdicts if one.kind == kind], None)
        while (trigger := episodes.opening(rule, left)) is not None:
            episode = episodes.opened(rule, trigger, trigger[-1].at)
            found.append(Opened((trigger[-1].at - START).days - 1, kind, episode.reason))
            left = left[len(trigger) :]
            while left and episode.status == "open":
                episode, left = episodes.advanced(rule, episode, left[:1], left[0].at), left[1:]
    return found


def _observation(verdict: WindowVerdict) -> Observation:
    bad = True if verdict.status in _BAD else False if verdict.status in _GOOD else None
    return Observation("m v1", verdict.kind, verdict.end, bad, verdict.reason, {"severity": verdict.severity})


def delay(found: Sequence[Opened], day: int, kinds: frozenset[str]) -> int | None:
    """Days from a change to the first episode of one of the kinds; -1 where one had opened just before."""
    opened_at = sorted(one.day for one in found if one.kind in kinds)
    if any(day - 7 <= at < day for at in opened_at):
        return -1
    return next((at - day for at in opened_at if at >= day), None)


def watch(seed: int, *, realistic: bool, rows_a_day: int, changing: bool = True) -> Watched:
    """A year without a change, then each change by itself, from one reference."""
    world = World(seed, realistic=realistic, rows_a_day=rows_a_day)
    profile = reference(world)
    quiet = opened(judged(profile, counted(world, profile, Change(), range(YEAR))))
    delays: dict[str, int | None] = {}
    for kind, change in worlds.changes(seed, BEFORE).items() if changing else ():
        windows = counted(world, profile, change, range(BEFORE + AFTER))
        kinds = frozenset({"performance"}) if kind.startswith("concept") else frozenset({"drift", "quality"})
        delays[kind] = delay(opened(judged(profile, windows)), BEFORE, kinds)
    return Watched(quiet, delays)
