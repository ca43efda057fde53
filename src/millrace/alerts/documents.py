"""Rules, mutes and states as JSON documents, for the database and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from millrace.alerts.condition import Condition
from millrace.alerts.types import AlertRule, Inhibition, Mute, Observation, RuleState
from millrace.core.clock import iso, parse_time


def rule_document(rule: AlertRule) -> dict[str, Any]:
    """A rule; spans are seconds. Its channels are names, so there are no secrets in it."""
    document = asdict(rule)
    condition = document.pop("condition")
    if condition is not None:
        condition = {**condition, "window": _seconds(rule.condition.window if rule.condition else None)}
    return {
        **{key: list(value) if isinstance(value, tuple) else value for key, value in document.items()},
        "labels": dict(rule.labels),
        "inhibitions": [{"by": list(each.by), "of": list(each.of)} for each in rule.inhibitions],
        "repeat_after": _seconds(rule.repeat_after),
        "every": _seconds(rule.every),
        "condition": condition,
    }


def rule_of(document: Mapping[str, Any]) -> AlertRule:
    """The rule of such a document."""
    given = dict(document)
    condition = given.pop("condition", None)
    if condition is not None:
        given["condition"] = Condition(**{**condition, "window": _span(condition.get("window"))})
    for name in ("kinds", "channels", "quiet"):
        given[name] = tuple(given.get(name, ()))
    given["inhibitions"] = tuple(
        Inhibition(tuple(each["by"]), tuple(each["of"])) for each in given.get("inhibitions", ())
    )
    given["repeat_after"], given["every"] = _span(given.get("repeat_after")), _span(given.get("every"))
    return AlertRule(**given)


def mute_document(mute: Mute | None) -> dict[str, Any] | None:
    """A mute, or None."""
    if mute is None:
        return None
    until = None if mute.until is None else iso(mute.until)
    return {"since": iso(mute.since), "by": mute.by, "until": until, "reason": mute.reason}


def mute_of(document: Mapping[str, Any] | None) -> Mute | None:
    """The mute of such a document."""
    if document is None:
        return None
    until = None if document["until"] is None else parse_time(document["until"])
    return Mute(parse_time(document["since"]), document["by"], until, document["reason"])


def state_document(state: RuleState | None) -> dict[str, Any] | None:
    """How a rule stands, or None."""
    if state is None:
        return None
    recent = [{"at": iso(one.at), "bad": one.bad, "reason": one.reason, "data": dict(one.data)} for one in state.recent]
    return {"state": state.state, "value": state.value, "reason": state.reason, "at": iso(state.at), "recent": recent}


def state_of(document: Mapping[str, Any] | None, rule: str, kind: str) -> RuleState | None:
    """The state of such a document; its observations are of that rule and kind."""
    if document is None:
        return None
    recent = tuple(
        Observation(rule, kind, parse_time(one["at"]), one["bad"], one["reason"], one["data"])
        for one in document["recent"]
    )
    return RuleState(document["state"], document["value"], document["reason"], parse_time(document["at"]), recent)


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
