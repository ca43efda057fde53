"""The loop under one policy, date by date: what is seen, what is told, what is decided, what is trained and promoted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, Protocol

import numpy as np

from millrace.alerts.types import AlertRule
from millrace.core.clock import epoch_us, from_epoch_us
from millrace.pipeline import policy as policies
from millrace.pipeline.backtest.told import Told
from millrace.pipeline.backtest.types import Attempt, Day, Model, Policy, Run, Scene, Seen
from millrace.pipeline.backtest.watched import Known
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.policy import Decision, Labels, Situation, Trigger
from millrace.pipeline.retrain import alert_rule
from millrace.pipeline.split import windows

Watch = Callable[[Model], Sequence[Known]]
"""All verdicts on a model from its promotion on, by when they could be known."""

_FIRST = "nothing is in production"


class Trainer(Protocol):
    """Trains as of a date, once, and puts what came out before the gates."""

    def model(self, date: datetime) -> Model:
        """The training as of a date."""
        ...

    def refusal(self, model: Model, champion: Model | None) -> str:
        """Why the gates refuse it beside the champion; empty where they let it pass."""
        ...


@dataclass
class _State:
    """Where the replay stands."""

    champion: Model | None = None
    version: int = 0
    heard: int = 0  # verdicts on the champion that were taken into account
    days: list[Day] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    tried: list[policies.Attempt] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)


class Replay:
    """Lives through the dates under a policy. Whatever is costly is asked of `trainer` and `watch`, which keep it."""

    def __init__(self, pipeline: Pipeline, scene: Scene, trainer: Trainer, watch: Watch, policy: Policy) -> None:
        self._pipeline, self._scene, self._trainer, self._watch = pipeline, scene, trainer, watch
        self._policy, self._told = policy, Told(_rule(pipeline, policy))
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
        return Run(self._policy, tuple(state.days), tuple(state.attempts), tuple(self._told.alerts), tuple(state.seen))

    def _look(self, date: datetime) -> None:
        state = self._state
        if state.champion is None:
            return
        fresh = [one for one in self._watch(state.champion)[state.heard :] if one.at <= date]
        state.heard += len(fresh)
        state.seen += [_seen(one) for one in fresh]
        self._told.hear(fresh, date)

    def _decide(self, date: datetime) -> Decision:
        state = self._state
        if state.champion is None:
            return Decision("due", _FIRST, Trigger(tick=date))
        return policies.decide(self._policy.retrain, self._situation(date, state.champion))

    def _situation(self, date: datetime, champion: Model) -> Situation:
        return Situation(
            now=date,
            champion=str(self._state.version),
            champion_at=champion.at,
            trained_to=champion.trained_to,
            episodes=self._told.troubles,
            windows=self._told.windows,
            attempts=self._state.tried,
            answered=lambda since: self._labels(date, max(since, self._answered_from())),
            trainable=lambda since: self._labels(date, since),
        )

    def _answered_from(self) -> datetime:
        """The first version's promotion: before it nobody was answered."""
        return next(attempt.at for attempt in self._state.attempts if attempt.version is not None)

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
        model, champion = self._trainer.model(date), state.champion
        refused = self._trainer.refusal(model, champion)
        if champion is None and model.refused:  # before there are labels, nothing is tried
            return
        if not refused:
            state.champion, state.version, state.heard = model, state.version + 1, 0
            self._told.replace(state.version, date)
        state.attempts.append(Attempt(date, None if refused else state.version, decision.reason, refused, model))
        if champion is not None and decision.trigger is not None:
            ended: Literal["refused", "promoted"] = "refused" if refused else "promoted"
            state.tried.append(policies.Attempt(decision.trigger, date, ended, model.trained_to, refused))


def _rule(pipeline: Pipeline, policy: Policy) -> AlertRule:
    """The pipeline's alerts, and those that the policy lives on: a policy that waits for what nobody looks at would be `never`."""
    rule = alert_rule(pipeline)
    needed = sorted({kind for cause in policy.retrain.causes for kind in cause})
    return replace(rule, kinds=tuple(dict.fromkeys([*rule.kinds, *needed])))


def _seen(known: Known) -> Seen:
    one = known.verdict
    return Seen(known.at, one.kind, one.status, one.severity, one.score, one.reason)
