"""What becomes of an endpoint while a canary is under way: on to the next step, to its end, or back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from millrace.core.errors import InvalidState
from millrace.serving.canary.types import CanaryRun, Outcome, StepVerdict, Verdict
from millrace.serving.types import Endpoint, EndpointConfig, Former

_WHOLE = 100


def begun(config: EndpointConfig, last: CanaryRun | None, at: datetime) -> CanaryRun | None:
    """The canary that a new configuration begins; else the last one, which ends where it was under way."""
    if config.canary is not None:
        challenger = next(entity for entity in config.served if entity.name == config.canary.challenger)
        return CanaryRun(config.canary, challenger.entity_name, challenger.entity_version or "", 0, at)
    if last is not None and last.is_running:
        return replace(last, outcome="cancelled", since=at, message="the endpoint was updated otherwise")
    return last


def followed(endpoint: Endpoint, verdict: Verdict, at: datetime) -> Endpoint:
    """The endpoint as it will be after a verdict to go on or to stop: what workers load next.

    Nothing in it has to be loaded anew: each of its models is in memory.

    Raises:
        InvalidState: no canary is under way.
    """
    run = _running(endpoint)
    judged = replace(
        run, verdicts=(*run.verdicts, StepVerdict(run.step, run.canary.settings.shares[run.step], at, verdict))
    )
    if verdict.decision == "stop":
        return _gone_back(endpoint, judged, "rolled_back", verdict.reason, at)
    step = run.step + 1
    if step == len(run.canary.settings.shares) - 1:
        return _finished(endpoint, judged, at)
    shadow = _others(endpoint, run) | run.canary.copied(step)
    config = replace(endpoint.config, traffic=run.canary.traffic(step), shadow=shadow)
    return _next(endpoint, config, replace(judged, step=step, since=at, message=""))


def gone_back(endpoint: Endpoint, why: str, at: datetime) -> Endpoint:
    """The endpoint with what it served before; a canary that is under way is rolled back.

    Doing it twice leads to where it was, but never to a challenger that was rolled back.

    Raises:
        InvalidState: there is nothing to go back to.
    """
    if endpoint.canary is not None and endpoint.canary.is_running:
        return _gone_back(endpoint, endpoint.canary, "rolled_back", why, at)
    former = endpoint.previous
    if former is None:
        raise InvalidState(
            f"endpoint '{endpoint.name}' has nothing to go back to",
            hint="a rollback is possible once it served something else before",
            endpoint=endpoint.name,
        )
    back = _next(endpoint, replace(former.config, canary=None), endpoint.canary)
    return replace(back, plans=former.plans, previous=Former(endpoint.config, endpoint.plans))


def _running(endpoint: Endpoint) -> CanaryRun:
    if endpoint.canary is None or not endpoint.canary.is_running:
        raise InvalidState(f"endpoint '{endpoint.name}' has no canary under way", endpoint=endpoint.name)
    return endpoint.canary


def _finished(endpoint: Endpoint, run: CanaryRun, at: datetime) -> Endpoint:
    name = run.canary.challenger
    served = tuple(
        entity for entity in endpoint.config.served if entity.name not in run.canary.traffic(0) or entity.name == name
    )
    config = replace(endpoint.config, served=served, traffic={name: _WHOLE}, canary=None, shadow=_others(endpoint, run))
    ended = replace(run, step=run.step + 1, outcome="finished", since=at, message="every verdict was to go on")
    return _next(endpoint, config, ended)


def _gone_back(endpoint: Endpoint, run: CanaryRun, outcome: Outcome, why: str, at: datetime) -> Endpoint:
    former = endpoint.previous
    if former is None:
        raise InvalidState(f"endpoint '{endpoint.name}' has lost what its canary began with", endpoint=endpoint.name)
    back = _next(endpoint, replace(former.config, canary=None), replace(run, outcome=outcome, since=at, message=why))
    return replace(back, plans=former.plans, previous=None)


def _others(endpoint: Endpoint, run: CanaryRun) -> dict[str, int]:
    """The shadows that are not the canary's."""
    return {name: percent for name, percent in endpoint.config.shadow.items() if name != run.canary.challenger}


def _next(endpoint: Endpoint, config: EndpointConfig, run: CanaryRun | None) -> Endpoint:
    names = {entity.name for entity in config.served}
    plans = tuple(plan for plan in endpoint.plans if plan.entity.name in names)
    return replace(endpoint, generation=endpoint.generation + 1, config=config, plans=plans, pending=None, canary=run)
