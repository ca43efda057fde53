"""The loop under one policy, date by date: what is seen, what is told, what is decided, what is trained and promoted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from millrace.alerts import episodes
from millrace.alerts.types import AlertRule, Episode, EpisodeId, Observation
from millrace.core.clock import epoch_us, from_epoch_us
from millrace.pipeline import policy as policies
from millrace.pipeline.backtest.trained import Trained, Trainings
from millrace.pipeline.backtest.types import Alert, Attempt, Day, Policy, Run, Scene, Seen
from millrace.pipeline.backtest.watched import Known
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.policy import Decision, Labels, Situation, Trigger, Trouble
from millrace.pipeline.retrain import alert_rule
from millrace.pipeline.split import windows

Watch = Callable[[Trained], Sequence[Known]]
_BAD = frozenset({"drift", "broken", "degraded"})
_GOOD = frozenset({"ok", "explained"})
_FIRST = "nothing is in production"


@dataclass
class _State:
    """Where the replay stands."""

    champion: Trained | None = None
    version: int = 0
    versions: int = 0
    told: int = 0  # verdicts on the champion that were taken into account
    observations: list[Observation] = field(default_factory=list)
    open: Episode | None = None
    newest: Episode | None = None  # the newest about the champion, open or not
    alerts: list[Alert] = field(default_factory=list)
    days: list[Day] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    tried: list[policies.Attempt] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)


class Replay:
    """Lives through the dates under a policy. Whatever is costly is asked of `trainings` and `watch`, which keep it."""

    def __init__(self, pipeline: Pipeline, scene: Scene, trainings: Trainings, watch: Watch, policy: Policy) -> None:
        self._pipeline, self._scene, self._trainings, self._watch = pipeline, scene, trainings, watch
        self._policy, self._rule = policy, _rule(pipeline, policy)
        self._state = _State()

    def live(self, date: datetime) -> None:
        """One date: look, decide, train, promote; who asks from now on is answered by what is promoted."""
        state = self._state
        self._look(date)
        decision = self._decide(date)
        if decision.state == "due":
            self._train(date, decision)
        state.days.append(Day(date, state.version or None, decision.state, decision.reason))

    def run(self) -> Run:
        """What happened."""
        state = self._state
        return Run(self._policy, tuple(state.days), tuple(state.attempts), tuple(state.alerts), tuple(state.seen))

    def _look(self, date: datetime) -> None:
        state = self._state
        if state.champion is None:
            return
        known = self._watch(state.champion)
        fresh = [one for one in known[state.told :] if one.at <= date]
        state.told += len(fresh)
        state.seen += [_seen(one) for one in fresh]
        state.observations += [_observation(one, state.version) for one in fresh]
        self._tell(date)

    def _tell(self, date: datetime) -> None:
        """The alert rule of production, over what is known of the champion."""
        state, rule = self._state, self._rule
        fresh = episodes.conclusive(rule, state.observations, episodes.seen(state.newest))
        if state.open is None:
            trigger = episodes.opening(rule, fresh)
            if trigger is None:
                return
            opened = episodes.opened(rule, trigger, date, episodes.seen(state.newest))
            state.open = replace(opened, id=EpisodeId(len(state.alerts) + 1))
            state.alerts.append(_alert(state.open, state.version))
            fresh = episodes.conclusive(rule, fresh, episodes.seen(state.open))
        after = episodes.advanced(rule, state.open, fresh, date)
        state.newest = after
        state.alerts[-1] = replace(_alert(after, state.version), reason=state.alerts[-1].reason)
        state.open = after if after.status == "open" else None

    def _decide(self, date: datetime) -> Decision:
        state = self._state
        if state.champion is None:
            return Decision("due", _FIRST, Trigger(tick=date))
        return policies.decide(self._policy.retrain, self._situation(date, state.champion))

    def _situation(self, date: datetime, champion: Trained) -> Situation:
        state = self._state
        return Situation(
            now=date,
            champion=str(state.version),
            champion_at=champion.model.at,
            trained_to=champion.model.trained_to,
            episodes=[_trouble(state.open)] if state.open is not None else [],
            windows=_windows(state.observations),
            attempts=state.tried,
            answered=lambda since: self._labels(date, max(since, champion.model.at)),
            trainable=lambda since: self._labels(date, since),
        )

    def _labels(self, date: datetime, since: datetime) -> Labels:
        """Labels of a time after `since` that a training as of `date` would train on."""
        scene, label = self._scene, self._pipeline.labels
        known = scene.times_us <= epoch_us(date - label.known_after)
        times = scene.times_us[known & ~np.isnan(scene.labels)]
        if not len(times):
            return Labels(lacking="no label is known")
        newest = from_epoch_us(int(times[-1]))
        first = times[np.searchsorted(times, epoch_us(newest - self._pipeline.split.holdout), side="right")]
        until = windows(newest, from_epoch_us(int(first)), label, self._pipeline.split).train_to
        low, high = np.searchsorted(times, [epoch_us(since), epoch_us(until)], side="right")
        return Labels(max(int(high - low), 0), until)

    def _train(self, date: datetime, decision: Decision) -> None:
        state = self._state
        trained = self._trainings.at(date)
        refused = self._trainings.refusal(trained, state.champion)
        is_first = state.champion is None
        if not refused:
            self._promote(trained, date)
        version = None if refused else state.version
        if not (is_first and trained.model.refused):  # before there are labels, nothing can be tried
            state.attempts.append(Attempt(date, version, decision.reason, refused, trained.model))
        if not is_first and decision.trigger is not None:
            outcome = policies.Attempt(
                decision.trigger, date, "refused" if refused else "promoted", trained.model.trained_to, refused
            )
            state.tried.append(outcome)

    def _promote(self, trained: Trained, date: datetime) -> None:
        state = self._state
        if state.open is not None:  # its trouble is over: the version that it is about has been replaced
            state.alerts[-1] = replace(state.alerts[-1], closed_at=date)
        state.versions += 1
        state.champion, state.version = trained, state.versions
        state.open = state.newest = None
        state.told, state.observations = 0, []


def _rule(pipeline: Pipeline, policy: Policy) -> AlertRule:
    """The pipeline's alerts, and those that the policy lives on: a policy that waits for what nobody looks at would be `never`."""
    rule = alert_rule(pipeline)
    needed = sorted({kind for cause in policy.retrain.causes for kind in cause})
    return replace(rule, kinds=tuple(dict.fromkeys([*rule.kinds, *needed])))


def _observation(known: Known, version: int) -> Observation:
    one = known.verdict
    told = one.severity != "info"
    bad = True if one.status in _BAD and told else False if one.status in _GOOD or not told else None
    data = {"columns": list(one.columns), "score": one.score}
    return Observation(f"v{version}", one.kind, one.end, bad, one.reason, data)


def _seen(known: Known) -> Seen:
    one = known.verdict
    return Seen(known.at, one.kind, one.status, one.severity, one.score, one.reason)


def _alert(episode: Episode, version: int) -> Alert:
    kinds = episode.data["kinds"]
    return Alert(
        number=int(episode.id),
        version=version,
        kinds=tuple(str(kind) for kind in kinds) if isinstance(kinds, list) else (),
        began_at=episode.began_at,
        opened_at=episode.opened_at,
        closed_at=episode.closed_at,
        reason=episode.reason,
    )


def _trouble(episode: Episode) -> Trouble:
    kinds = episode.data["kinds"]
    named = tuple(str(kind) for kind in kinds) if isinstance(kinds, list) else ()
    return Trouble(int(episode.id), named, episode.began_at, episode.reason)


def _windows(observations: Sequence[Observation]) -> Mapping[str, Sequence[bool]]:
    found: dict[str, list[bool]] = {}
    for one in observations:
        if one.bad is not None:
            found.setdefault(one.kind, []).append(one.bad)
    return found
