"""One seed's worth of watching: a reference, then years without a change and months with one, judged by the code that a home runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import alarms_rules
import alarms_world as worlds
import numpy as np
import pyarrow as pa
from alarms_world import Change, Day, World

from millrace.alerts import episodes
from millrace.alerts.types import AlertRule, Observation
from millrace.monitoring.counts.count import count_version
from millrace.monitoring.counts.window_counts import WindowCounts, watched
from millrace.monitoring.judge import judge
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.drift import judge_drift
from millrace.monitoring.verdicts.performance import judge_performance
from millrace.monitoring.verdicts.quality import judge_quality
from millrace.pipeline.upkeep import Alert, Monitor

YEAR = 365
BEFORE, AFTER = 30, 40  # days before a change and from it on
FEW_ROWS, AFTER_MANY = 1_000, 14  # with more rows an abrupt change is found at once or never
RULE_DAYS = 100
LABELS_AFTER = 14  # days, where labels are late
LATE, LATE_OF = "concept_late", "concept_mild"
SHAPES = ("sudden", "gradual", "category")  # what rules over distributions could see
_CHUNK_ROWS = 200_000
_FEATURES = (*worlds.NUMERIC, *worlds.TEXT)
START = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=worlds.FIRST_DAY)
SPEC = MonitorSpec(
    "logs.p",
    "metrics",
    effect_floor=Monitor().effect_floor,
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
            Of `LATE` they count from the day on which the first changed day's labels are known.
        rules: rule to on how many of 100 days it raised an alert, and its episodes by the same alert rule as ours.
        detected: kind of change to rules, to days until the first alert of a window; None where there was none.
    """

    quiet: Sequence[Opened]
    delays: Mapping[str, int | None]
    rules: Mapping[str, tuple[int, int]]
    detected: Mapping[str, Mapping[str, int | None]]


def reference(world: World) -> ReferenceProfile:
    """As a training run makes it: all rows, and answers on the holdout."""
    return profile_of(worlds.table(worlds.reference_days(world)))


def profile_of(rows: pa.Table) -> ReferenceProfile:
    """Of a reference's rows, oldest first."""
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
            windows += counted_table(profile, worlds.table(chunk))
            chunk, rows = {}, 0
    return windows + list(counted_table(profile, worlds.table(chunk)) if chunk else [])


def counted_table(profile: ReferenceProfile, log: pa.Table) -> Sequence[WindowCounts]:
    """Rows of a log, by day."""
    numbers = log["timestamp"].cast(pa.int64()).to_numpy() // worlds.DAY_US
    return count_version(log, numbers, SPEC, profile)


def judged(profile: ReferenceProfile, windows: Sequence[WindowCounts]) -> list[WindowVerdict]:
    """All that a home says of them, whose labels are late."""
    return list(judge(SPEC, "1", profile, windows, labels_after=LABELS_AFTER))


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
    return Observation(
        "m v1", verdict.kind, verdict.end, verdict.trouble, verdict.reason, {"severity": verdict.severity}
    )


def delay(found: Sequence[Opened], day: int, kinds: frozenset[str]) -> int | None:
    """Days from a change to the first episode of one of the kinds; -1 where one had opened just before."""
    opened_at = sorted(one.day for one in found if one.kind in kinds)
    if any(day - 7 <= at < day for at in opened_at):
        return -1
    return next((at - day for at in opened_at if at >= day), None)


def by_rules(profile: ReferenceProfile, windows: Sequence[WindowCounts]) -> Mapping[str, Sequence[bool]]:
    """What other rules say of the features of each window."""
    return alarms_rules.alerts(windows, {column.name: column for column in profile.columns})


def _merged(alerts: Sequence[bool]) -> int:
    """Episodes: two of three days open one, seven good ones close it."""
    count, is_open, good = 0, False, 0
    for at, bad in enumerate(alerts):
        good = 0 if bad else good + 1
        if is_open:
            is_open = good < Alert().resolve_after
        elif bad and sum(alerts[max(0, at - Alert().out_of + 1) : at + 1]) >= Alert().breaches:
            count, is_open = count + 1, True
    return count


def watch(seed: int, *, realistic: bool, rows_a_day: int) -> Watched:
    """A year without a change, and each change by itself after its first 30 days, from one reference."""
    world = World(seed, realistic=realistic, rows_a_day=rows_a_day)
    profile = reference(world)
    year = counted(world, profile, Change(), range(YEAR))
    rules = {name: (sum(one), _merged(one)) for name, one in by_rules(profile, year[:RULE_DAYS]).items()}
    delays: dict[str, int | None] = {}
    detected: dict[str, Mapping[str, int | None]] = {}
    for kind, change in worlds.changes(seed, BEFORE).items():
        days = AFTER if kind == "gradual" or rows_a_day <= FEW_ROWS else AFTER_MANY
        after = counted(world, profile, change, range(BEFORE, BEFORE + days))
        told = opened(_of_change(profile, [*year[:BEFORE], *after], kind))
        delays[kind] = delay(told, BEFORE, frozenset({one.kind for one in told}))
        if kind == LATE_OF:
            heard = opened(_heard_late(profile, [*year[:BEFORE], *after]))
            delays[LATE] = delay(heard, BEFORE + LABELS_AFTER, frozenset({"performance"}))
        if kind in SHAPES:
            alerts = by_rules(profile, after)
            detected[kind] = {name: one.index(True) if True in one else None for name, one in alerts.items()}
    return Watched(opened(judged(profile, year)), delays, rules, detected)


def _of_change(profile: ReferenceProfile, windows: Sequence[WindowCounts], kind: str) -> Sequence[WindowVerdict]:
    """Only the kinds that a change is meant to be found by: labels for a concept, else columns."""
    if kind.startswith("concept"):
        return judge_performance(SPEC, "1", windows, profile.answers)
    columns = watched(SPEC, profile)
    return [*judge_drift(SPEC, "1", windows, columns), *judge_quality(SPEC, "1", windows, columns)]


def _heard_late(profile: ReferenceProfile, windows: Sequence[WindowCounts]) -> Sequence[WindowVerdict]:
    """Performance as it is heard: each day the labels of one more window are known, and those of all newer ones are not."""
    heard = []
    for newest in windows:
        today = newest.number + LABELS_AFTER
        there = [one for one in windows if one.number <= today]
        known = [one if one.number <= newest.number else replace(one, answers=None) for one in there]
        told = judge_performance(SPEC, "1", known, profile.answers, first=newest.number)[0]
        heard.append(replace(told, end=told.end + timedelta(days=LABELS_AFTER)))
    return heard
