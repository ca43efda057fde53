"""Whether an endpoint is answered: the store says what should be served, the workers what is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from millrace.serving.types import Endpoint, EndpointName

Worker = Mapping[str, Any]


def as_served(endpoint: Endpoint, workers: Sequence[Worker]) -> Endpoint:
    """The endpoint as its callers find it: ready only where every worker that is up answers for it, else with the reason.

    With the entities that are asleep.

    Args:
        endpoint: as it is stored.
        workers: what each says of itself; `ready`, `served`, and why it has to wait for an endpoint in `waiting`, its entities that
            are asleep in `asleep`.
    """
    asleep = _asleep(endpoint, workers)
    if asleep:
        endpoint = replace(endpoint, state=replace(endpoint.state, asleep=asleep))
    why = _why_not(endpoint, workers) if endpoint.state.ready else None
    if why is None:
        return endpoint
    message = f"{endpoint.state.message}; {why}" if endpoint.state.message else why
    return replace(endpoint, state=replace(endpoint.state, ready=False, message=message))


def disagreed(served: Mapping[str, int], waiting: Mapping[str, str], stored: Mapping[EndpointName, int]) -> set[str]:
    """The endpoints of which a worker serves another generation than it should, and does not wait for them.

    Args:
        served: generations that it serves, by endpoint.
        waiting: what it has to wait for.
        stored: generations of all endpoints that should be served.
    """
    names = {*served, *stored} - {*waiting}
    return {name for name in names if served.get(name) != stored.get(EndpointName(name))}


def unanswered(endpoint: Endpoint, workers: Sequence[Worker]) -> str | None:
    """Why an endpoint that was deployed can't be answered; None where it can, be it as it was before an update that is switching."""
    if not endpoint.state.ready:
        return endpoint.state.message
    return _not_served(endpoint, [worker for worker in workers if worker["ready"]])


def _why_not(endpoint: Endpoint, workers: Sequence[Worker]) -> str | None:
    up = [worker for worker in workers if worker["ready"]]
    why = _not_served(endpoint, up)
    # While an update switches, some workers are a moment ahead of others.
    if why is None and endpoint.state.config_update != "IN_PROGRESS":
        served = {worker["served"][endpoint.name] for worker in up}
        return None if served == {endpoint.generation} else "a worker still serves an earlier configuration"
    return why


def _not_served(endpoint: Endpoint, up: Sequence[Worker]) -> str | None:
    """Why a worker that is up does not serve the endpoint at all."""
    for worker in up:
        if endpoint.name not in worker["served"]:
            return str(worker["waiting"].get(endpoint.name, "a worker does not serve it yet"))
    return None if up else "no worker is up"


def _asleep(endpoint: Endpoint, workers: Sequence[Worker]) -> tuple[str, ...]:
    """The entities that are asleep in every worker that is up."""
    said = [worker.get("asleep", {}).get(endpoint.name, []) for worker in workers if worker["ready"]]
    return tuple(name for name in said[0] if all(name in others for others in said)) if said else ()
