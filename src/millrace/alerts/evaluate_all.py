"""Evaluate everything, tell what is owed, deliver: what a run's watching and `millrace alert evaluate` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from millrace.alerts.ask import ask_rule
from millrace.alerts.channel_names import named
from millrace.alerts.deliver import Delivered, deliver
from millrace.alerts.evaluate import evaluate, resolve
from millrace.alerts.port import AlertDesk
from millrace.alerts.tell import tell
from millrace.alerts.types import AlertRule, Episode, KeptRule, Observation, RuleState
from millrace.core.errors import NotFound


@dataclass(frozen=True, slots=True)
class Declared:
    """What a pipeline's file says about alerts: the rule that hears its monitor, and rules over metrics or SQL."""

    pipeline: str
    rule: AlertRule
    others: tuple[AlertRule, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertReport:
    """How alerts stand after an evaluation.

    Attributes:
        are_open: all open episodes of the workspace, oldest first.
        states: of the rules with a condition, by name.
        posted: notifications that were put into the outbox.
        delivered: what came of the outbox.
    """

    are_open: Sequence[Episode]
    states: Mapping[str, RuleState]
    posted: int
    delivered: Delivered


def evaluate_all(
    desk: AlertDesk,
    declared: Declared | None = None,
    observations: Sequence[Observation] = (),
    *,
    only: str | None = None,
) -> AlertReport:
    """Let a pipeline's rule hear its monitor's observations, evaluate every rule with a condition, tell, and deliver.

    Without a pipeline only the rules with a condition are evaluated; what waits for a silence's end, or in the outbox, goes out
    in any case. May be called at any time, by several processes. With `only` the one rule of that name is evaluated, also where its
    `every` has not passed.

    Raises:
        NotFound: there is no rule `only`.
    """
    if declared is not None:
        keep(desk, declared)
    posted = tell(desk)  # what a crash kept from being told, before it is changed any further
    if declared is not None:
        for subject in sorted({one.subject for one in observations}):
            heard = [one for one in observations if one.subject == subject]
            evaluate(desk.episodes, desk.events, desk.clock, declared.rule, heard)
    rules = desk.rules.list() if only is None else [desk.rules.get(only)]
    asking = [kept for kept in rules if kept.rule.condition is not None]
    states = {}
    for kept in asking:
        with suppress(NotFound):  # it was deleted at this moment
            states[kept.rule.name] = ask_rule(desk, kept, at_once=only is not None)
    posted += tell(desk)
    return AlertReport(desk.episodes.open_now(), states, posted, deliver(desk))


def tell_all(desk: AlertDesk) -> AlertReport:
    """Tell what is owed and deliver, with nothing evaluated: after an episode was ended or a silence was."""
    posted = tell(desk)
    return AlertReport(desk.episodes.open_now(), {}, posted, deliver(desk))


def keep(desk: AlertDesk, declared: Declared) -> None:
    """Make the workspace's rules of a pipeline those that its file declares; channels by URL get names."""
    rules = {rule.name: rule for rule in (declared.rule, *declared.others)}
    for rule in rules.values():
        kept = replace(rule, channels=named(desk, rule.channels))
        found = desk.rules.find(rule.name)
        if found is None or (found.rule, found.pipeline) != (kept, declared.pipeline):
            change(desk, kept, declared.pipeline)
    for found in desk.rules.list():
        if found.pipeline == declared.pipeline and found.rule.name not in rules:
            remove(desk, found.rule.name, "the pipeline's file does not declare the rule any more")


def change(desk: AlertDesk, rule: AlertRule, pipeline: str | None = None) -> KeptRule:
    """Write a rule. Where it asks something else than before, what was answered before does not count."""
    found = desk.rules.find(rule.name)
    if found is not None and found.rule.condition != rule.condition:
        desk.rules.set_state(rule.name, None)
    return desk.rules.put(rule, str(desk.principal), desk.clock.now(), pipeline)


def remove(desk: AlertDesk, name: str, why: str) -> None:
    """Delete a rule. Its open episodes end, which is told as always; their history stays.

    Raises:
        NotFound: there is no such rule.
    """
    rule = desk.rules.get(name).rule
    for episode in desk.episodes.open_now(name):
        resolve(desk.episodes, desk.events, desk.clock, rule, episode, why=why)
    tell(desk)
    desk.rules.remove(name)
