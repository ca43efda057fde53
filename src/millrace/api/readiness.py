"""Whether an endpoint is answered: the store says what should be served, the workers what is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from millrace.serving.types import Endpoint, EndpointName

Worker = Mapping[str, Any]


def as_served(endpoint: Endpoint, workers: Sequence[Worker]) -> Endpoint:
    """The endpoint as its callers find it: ready only where every worker that is up answers for it, else with the reason.

    With the paths of what the workers have loaded, and the entities that are asleep.

    Args:
        endpoint: as it is stored.
        workers: what each says of itself, by slot; `ready`, `served`, and why it has to wait for an endpoint in `waiting`, how its
            entities answer in `paths`, those that are asleep in `asleep`.
    """
    asleep, paths = _asleep(endpoint, workers), _paths(endpoint, workers)
    if asleep or paths:
        state = replace(endpoint.state, asleep=asleep, paths={**endpoint.state.paths, **paths})
        endpoint = replace(endpoint, state=state)
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


def _paths(endpoint: Endpoint, workers: Sequence[Worker]) -> dict[str, str]:
    """How each entity answers where it is loaded: libraries may have changed since it was deployed."""
    on: dict[str, dict[str, list[str]]] = {}
    for slot, worker in enumerate(workers):
        if worker["ready"] and worker["served"].get(endpoint.name) == endpoint.generation:
            for entity, path in worker.get("paths", {}).get(endpoint.name, {}).items():
                on.setdefault(entity, {}).setdefault(path, []).append(f"worker-{slot}")
    return {entity: _told(found) for entity, found in on.items()}


def _told(found: Mapping[str, Sequence[str]]) -> str:
    """The path of all workers, or which of them are on which."""
    if len(found) == 1:
        return next(iter(found))
    each = [f"{path} ({', '.join(workers)})" for path, workers in found.items()]
    return f"workers differ: {'; '.join(each)}"
