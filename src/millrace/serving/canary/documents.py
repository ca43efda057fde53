"""Canaries as JSON: in the store, between processes, and in the REST API, all in one shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

from millrace.core.clock import iso, parse_time
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.serving.canary.types import Canary, CanaryLimits, CanaryRun, CanarySettings, Finding, StepVerdict, Verdict


def canary_document(canary: Canary) -> dict[str, object]:
    """The canary; its wait in seconds."""
    return {"champion": canary.champion, "challenger": canary.challenger, **settings_document(canary.settings)}


def settings_document(settings: CanarySettings) -> dict[str, object]:
    """The canary without champion and challenger; its wait in seconds."""
    document = asdict(settings)
    del document["wait"]
    return {**document, "steps": list(settings.steps), "wait_s": settings.wait.total_seconds()}


def canary_from(document: object) -> Canary:
    """A canary from JSON; what is left out has its default, but champion and challenger.

    Raises:
        InvalidInput: a field is unknown or of the wrong type, or one of the canary's own conditions does not hold.
    """
    given = _checked(document, "canary_config", _CANARY)
    for name in ("champion", "challenger"):
        if name not in given:
            raise InvalidInput(f"'{name}' is missing", hint=f"name the {name} among the served entities", field=name)
    content = {name: value for name, value in given.items() if name not in _CONVERTED}
    if "steps" in given:
        content["steps"] = tuple(given["steps"])
    if "wait_s" in given:
        content["wait"] = timedelta(seconds=given["wait_s"])
    if "limits" in given:
        content["limits"] = CanaryLimits(**_checked(given["limits"], "limits", _LIMITS))
    return Canary(given["champion"], given["challenger"], CanarySettings(**content))


def run_document(run: CanaryRun) -> dict[str, object]:
    """A canary and how it goes; times as ISO 8601."""
    verdicts = [{**asdict(step), "at": iso(step.at)} for step in run.verdicts]
    return {
        **asdict(run),
        "canary": canary_document(run.canary),
        "since": iso(run.since),
        "verdicts": verdicts,
    }


def run_from(document: Mapping[str, Any]) -> CanaryRun:
    """What `run_document` wrote."""
    return CanaryRun(
        **{
            **document,
            "canary": canary_from(document["canary"]),
            "since": parse_time(document["since"]),
            "verdicts": tuple(_step(step) for step in document["verdicts"]),
        }
    )


def _step(document: Mapping[str, Any]) -> StepVerdict:
    verdict = document["verdict"]
    findings = tuple(Finding(**finding) for finding in verdict["findings"])
    return StepVerdict(
        **{**document, "at": parse_time(document["at"]), "verdict": Verdict(**{**verdict, "findings": findings})}
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: object) -> bool:
    return isinstance(value, str)


_Kind = tuple[Callable[[object], bool], str]
_CONVERTED = {"champion", "challenger", "steps", "wait_s", "limits"}
_CANARY: Mapping[str, _Kind] = {
    "champion": (_text, "text"),
    "challenger": (_text, "text"),
    "steps": (lambda value: isinstance(value, list), "a list of percents"),
    "shadow": (_whole, "a whole number"),
    "min_requests": (_whole, "a whole number"),
    "min_labels": (_whole, "a whole number"),
    "wait_s": (_number, "a number of seconds"),
    "after_wait": (_text, "'go' or 'stop'"),
    "limits": (lambda value: isinstance(value, Mapping), "a JSON object"),
}
_LIMITS: Mapping[str, _Kind] = {field.name: (_number, "a number") for field in fields(CanaryLimits)}


def _checked(document: object, what: str, known: Mapping[str, _Kind]) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise InvalidInput(f"'{what}' is not a JSON object", hint="look at docs/api.md for the shape", field=what)
    for name, value in document.items():
        if name not in known:
            raise InvalidInput(f"'{what}' has no field '{name}'", hint=did_you_mean(str(name), known), field=name)
        is_right, kind = known[name]
        if not is_right(value):
            raise InvalidInput(f"'{what}.{name}' is not {kind}", hint=f"give {kind}", field=name)
    return document
