"""The retraining policy as a pure function: a situation in, a decision with its reason out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from millrace.core.clock import iso
from millrace.pipeline.grid import last_tick
from millrace.pipeline.upkeep import Retrain

State = Literal["calm", "waiting", "due"]
ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a retraining is made for. An episode has one retraining; one that was refused may be tried again as `attempt` 2, 3, ...

    Attributes:
        episode: the number of an episode; None for a scheduled retraining.
        tick: the tick of the schedule; None for an episode.
    """

    episode: int | None = None
    tick: datetime | None = None
    attempt: int = 1

    def __str__(self) -> str:
        """The key that runs and versions are found again by: `episode 7`, `episode 7 attempt 2`, `tick 2026-01-01T00:00:00Z`."""
        what = f"episode {self.episode}" if self.tick is None else f"tick {iso(self.tick)}"
        return what if self.attempt == 1 else f"{what} attempt {self.attempt}"

    def is_like(self, other: Trigger) -> bool:
        """Whether both are of the same episode or tick."""
        return (self.episode, self.tick) == (other.episode, other.tick)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A retraining that the policy has begun before.

    Attributes:
        at: when it began.
        outcome: `under_way` where it was begun and has neither been promoted nor refused: killed, say, or its canary runs.
        train_to: the newest label time that it was trained on; None where it did not get that far.
        reason: why it was refused.
        why: why it began.
    """

    trigger: Trigger
    at: datetime
    outcome: Literal["under_way", "promoted", "refused"]
    train_to: datetime | None = None
    reason: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is open about the champion: one episode, or several of different kinds, which have one retraining.

    Attributes:
        episode: the number of the first.
        began_at: the end of the first bad window of any kind.
        since: the same by kind, where that is known.
    """

    episode: int
    kinds: tuple[str, ...]
    began_at: datetime
    reason: str = ""
    since: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a time that can be trained on.

    Attributes:
        count: how many.
        until: the end of the training window as the split would set it now; None where that can't be told yet.
        lacking: why not: no label is known, or there is no table of them.
    """

    count: int = 0
    until: datetime | None = None
    lacking: str = ""


def _no_labels(since: datetime) -> Labels:
    del since
    return Labels()


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that the policy looks at.

    Attributes:
        now: the time of the decision.
        champion: the version in production; None where there is none.
        champion_at: when it was promoted.
        trained_to: the newest label time that it was trained on; None where that is not known.
        episodes: open ones about it.
        windows: by kind of verdict, how its conclusive windows ended, oldest first: True for bad. A kind that is missing here
            is bad while an open episode names it.
        attempts: earlier ones of this pipeline's policy, oldest first; of any champion.
        answered: labels of predictions made since a time. Counting may cost a read, so it is asked only where it matters.
        trainable: all labels since a time, whether or not a prediction was made.
    """

    now: datetime
    champion: str | None = None
    champion_at: datetime | None = None
    trained_to: datetime | None = None
    episodes: Sequence[Trouble] = ()
    windows: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    attempts: Sequence[Attempt] = ()
    answered: Callable[[datetime], Labels] = _no_labels
    trainable: Callable[[datetime], Labels] = _no_labels


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says.

    Attributes:
        state: `calm` (nothing asks for a retraining), `waiting` (not yet), `due` (retrain now).
        reason: a sentence with the figures that decided.
        trigger: what a retraining would be for; None where calm.
        labels: how many new labels can be trained on; None where not counted.
        until: when the cooldown or the month that it waits for is over; None where it waits for nothing of the kind.
        began: where a retraining goes on, why it began.
    """

    state: State
    reason: str
    trigger: Trigger | None = None
    labels: int | None = None
    until: datetime | None = None
    began: str = ""


def decide(policy: Retrain | None, situation: Situation) -> Decision:
    """What a policy says to a situation. Deterministic; nothing is read but what the situation holds."""
    if policy is None:
        return Decision("calm", "no retraining policy")
    if situation.champion is None or situation.champion_at is None:
        return Decision("calm", "nothing in production yet")
    under_way = next((one for one in situation.attempts if one.outcome == "under_way"), None)
    if under_way is not None:
        reason = f"the retraining for {under_way.trigger} goes on"
        return Decision("due", reason, under_way.trigger, began=under_way.why)
    decisions = [_of_episode(policy, situation, trouble) for trouble in situation.episodes]
    decisions += _of_schedule(policy, situation)
    by_state = {one.state: one for one in reversed([*decisions, _calm(situation)])}
    return by_state.get("due") or _with_next_tick(policy, situation, by_state.get("waiting") or by_state["calm"])


def named_policies(like: Retrain | None = None) -> Mapping[str, Retrain]:
    """Policies to compare a pipeline's own with, by name; what they don't say is as in the pipeline's own.

    `never`; `monthly`: the first of each month, as soon as there is any new label; `drift`: on drift alone; `loss`: on measured
    loss; `estimate`: on estimated loss, without waiting for labels of the changed time.
    """
    base = replace(like or Retrain(), every=None, labels="wait")
    return {
        "never": replace(base, on=()),
        "monthly": replace(base, on=(), every="month", cooldown=timedelta(0), min_new_labels=1),
        "drift": replace(base, on=("drift",)),
        "loss": replace(base, on=("performance",)),
        "estimate": replace(base, on=("estimate",), labels="estimate"),
    }


def tick_before(every: timedelta | Literal["month"], at: datetime) -> datetime:
    """The newest tick of a schedule at or before a time. Ticks are the same for everybody: of a grid, or first days of months."""
    return _month(at) if every == "month" else last_tick(at, every)


def tick_after(every: timedelta | Literal["month"], at: datetime) -> datetime:
    """The first tick after a time."""
    tick = tick_before(every, at)
    return _next_month(tick) if every == "month" else tick + every


def _of_episode(policy: Retrain, situation: Situation, trouble: Trouble) -> Decision:
    earlier = [one for one in situation.attempts if one.trigger.episode == trouble.episode]
    trigger = Trigger(episode=trouble.episode, attempt=len(earlier) + 1)
    if any(one.outcome == "promoted" for one in earlier):
        return Decision("calm", f"episode {trouble.episode} has had its retraining")
    against = _not_a_cause(policy, situation, trouble)
    if against:
        return Decision("waiting", against, trigger)
    by_estimate = policy.labels == ESTIMATE and _is_bad(policy, situation, trouble, ESTIMATE)
    count = situation.trainable if by_estimate else situation.answered
    began = _began(policy, situation, trouble)
    since = (situation.trained_to or began) if by_estimate else began
    what = "the champion's training" if by_estimate else "predictions made"
    return _judged(policy, situation, trigger, _Need(count, since, what))


def _of_schedule(policy: Retrain, situation: Situation) -> list[Decision]:
    """At most one decision: about the last tick, where the champion is older than it and it was not tried."""
    if policy.every is None or situation.champion_at is None:
        return []
    trigger = Trigger(tick=tick_before(policy.every, situation.now))
    if trigger.tick is None or trigger.tick <= situation.champion_at:
        return []
    if any(one.trigger.is_like(trigger) for one in situation.attempts):
        return []
    since = situation.trained_to or situation.champion_at
    return [_judged(policy, situation, trigger, _Need(situation.trainable, since, "the champion's training"))]


@dataclass(frozen=True, slots=True)
class _Need:
    """Which labels are counted, and since when."""

    count: Callable[[datetime], Labels]
    since: datetime
    what: str


def _judged(policy: Retrain, situation: Situation, trigger: Trigger, need: _Need) -> Decision:
    """Due, or waiting for whatever is lacking: time, budget, labels.

    Where this champion has won before, whatever that attempt was for, the next one needs labels that it has not seen.
    """
    waits = [wait for wait in (_cooldown(policy, situation), _budget(policy, situation)) if wait is not None]
    until = max((end for _, end in waits), default=None)
    lost = [one for one in _refused(situation) if situation.champion_at is None or one.at >= situation.champion_at]
    since = max([need.since, *(one.train_to for one in lost if one.train_to is not None)])
    needed = max(policy.min_new_labels, 1) if lost else policy.min_new_labels
    labels = need.count(since)
    what = "the refused attempt's training" if since > need.since else need.what
    figures = labels.lacking or _figures(labels, needed, since, what)
    enough = not labels.lacking and labels.count >= needed
    reasons = [*(reason for reason, _ in waits), *([] if enough and waits else [figures])]
    if lost:
        reasons.insert(0, f"the retraining for {lost[-1].trigger} was refused: {lost[-1].reason}")
    counted = None if labels.lacking else labels.count
    return Decision("due" if enough and not waits else "waiting", "; ".join(reasons), trigger, counted, until)


def _figures(labels: Labels, needed: int, since: datetime, what: str) -> str:
    """`120 of 500 labels of ... are known`, or `620 labels of ... are known ... (500 are asked for)`."""
    count = f"{labels.count:,} of {needed:,} labels" if labels.count < needed else f"{labels.count:,} labels"
    text = f"{count} since {what} ({since:%Y-%m-%d})"
    if what.startswith("predictions"):
        text = f"{count} of {what} since {since:%Y-%m-%d}"
    until = [f"training ends {labels.until:%Y-%m-%d}, before the holdout"] if labels.until else []
    notes = [*until, *([f"at least {needed:,} asked for"] if labels.count >= needed else [])]
    return f"{text} are known early enough to train on" + (f" ({'; '.join(notes)})" if notes else "")


def _not_a_cause(policy: Retrain, situation: Situation, trouble: Trouble) -> str:
    """Why an episode is no cause for a retraining; empty where it is."""
    causes = [cause for cause in policy.causes if cause & set(trouble.kinds)]
    if not causes:
        return f"an episode is open, of a kind that the policy does not retrain on: {trouble.reason}"
    lacking = [[kind for kind in sorted(cause) if not _is_bad(policy, situation, trouble, kind)] for cause in causes]
    if not all(lacking):
        return ""
    told = (" and ".join(_so_far(policy, situation, kind) for kind in kinds) for kinds in lacking)
    return f"an episode is open, but {'; '.join(dict.fromkeys(told))}: {trouble.reason}"


def _began(policy: Retrain, situation: Situation, trouble: Trouble) -> datetime:
    """When what the policy retrains on began: trouble of another kind may be older, and labels of before it tell nothing of this."""
    holding = [cause for cause in policy.causes if all(_is_bad(policy, situation, trouble, kind) for kind in cause)]
    times = [trouble.since[kind] for cause in holding for kind in cause if kind in trouble.since]
    return min(times, default=trouble.began_at)


def _is_bad(policy: Retrain, situation: Situation, trouble: Trouble, kind: str) -> bool:
    windows = situation.windows.get(kind)
    return kind in trouble.kinds if windows is None else sum(windows[-policy.out_of :]) >= policy.breaches


def _so_far(policy: Retrain, situation: Situation, kind: str) -> str:
    windows = situation.windows.get(kind)
    if not windows:
        return f"there is no verdict of {kind}"
    last = windows[-policy.out_of :]
    return f"{kind} is bad in {sum(last)} of the last {len(last)} windows ({policy.breaches} are asked for)"


def _cooldown(policy: Retrain, situation: Situation) -> tuple[str, datetime] | None:
    times = [(situation.champion_at, f"v{situation.champion} was promoted")]
    times += [(one.at, f"the retraining for {one.trigger} began") for one in _refused(situation)]
    at, what = max((at, what) for at, what in times if at is not None)
    until = at + policy.cooldown
    if situation.now >= until:
        return None
    return f"{what} {iso(at)}; the cooldown lasts until {iso(until)}", until


def _refused(situation: Situation) -> list[Attempt]:
    return [one for one in situation.attempts if one.outcome == "refused"]


def _budget(policy: Retrain, situation: Situation) -> tuple[str, datetime] | None:
    if policy.per_month is None:
        return None
    month = _month(situation.now)
    used = sum(month <= one.at for one in situation.attempts)
    if used < policy.per_month:
        return None
    until = _next_month(month)
    return f"{used} of {policy.per_month} retrainings of {month:%B %Y} are used; the next can come {iso(until)}", until


def _calm(situation: Situation) -> Decision:
    return Decision("calm", f"no open episode for v{situation.champion}")


def _with_next_tick(policy: Retrain, situation: Situation, decision: Decision) -> Decision:
    if policy.every is None:
        return decision
    following = tick_after(policy.every, situation.now)
    return replace(decision, reason=f"{decision.reason}; the next scheduled retraining is {iso(following)}")


def _month(at: datetime) -> datetime:
    return datetime(at.year, at.month, 1, tzinfo=UTC)


def _next_month(at: datetime) -> datetime:
    return _month(_month(at) + timedelta(days=32))
