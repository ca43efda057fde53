"""What happens to endpoints, for the event log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from millrace.core.events import Event
from millrace.core.principal import Principal
from millrace.serving.canary.types import CanaryRun
from millrace.serving.types import Endpoint


def told(kind: str, endpoint: Endpoint, at: datetime, by: Principal, **data: object) -> Event:
    """A change of an endpoint as an event, with what it serves and who takes how much of the traffic."""
    config = endpoint.pending if endpoint.pending is not None and not endpoint.config.served else endpoint.config
    facts = {
        "generation": endpoint.generation,
        "served": {entity.name: str(entity) for entity in config.served},
        "traffic": dict(config.traffic),
        "shadow": dict(config.shadow),
    }
    return Event(kind, f"endpoint/{endpoint.name}", at, by, facts | data)


def changes(before: CanaryRun | None, ready: Endpoint, at: datetime, by: Principal, why: str) -> Sequence[Event]:
    """What is told of an endpoint that gets a new generation: that it is updated, and how its canary goes."""
    events = [told("endpoint.updated", ready, at, by, **({"why": why} if why else {}))]
    run = ready.canary
    if run is not None and run != before:
        kind = "started" if run.is_running and run.step == 0 else "advanced" if run.is_running else run.outcome
        facts = {"model": run.model, "version": run.version, "share": run.share, "why": why or run.message}
        events.append(told(f"canary.{kind}", ready, at, by, **facts))
    return events
