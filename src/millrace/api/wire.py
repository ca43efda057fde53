"""An endpoint as control sends it to its workers: everything that loading needs, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from millrace.core.clock import iso, parse_time
from millrace.serving.types import (
    Capture,
    Endpoint,
    EndpointConfig,
    EndpointName,
    EndpointState,
    LoadPlan,
    ServedEntity,
)


def to_wire(endpoint: Endpoint) -> dict[str, object]:
    """The endpoint as a JSON object. A pending configuration is not sent: workers load candidates, where it is active.

    Nor is what only control needs: the way back, and the canary; workers see the traffic that it asks for.
    """
    config = replace(endpoint.config, canary=None)
    return {
        **asdict(replace(endpoint, pending=None, config=config, previous=None, canary=None)),
        "created_at": iso(endpoint.created_at),
        "updated_at": iso(endpoint.updated_at),
    }


def from_wire(document: Mapping[str, Any]) -> Endpoint:
    """What `to_wire` wrote."""
    config, state = document["config"], document["state"]
    return Endpoint(
        name=EndpointName(document["name"]),
        id=document["id"],
        generation=document["generation"],
        config=EndpointConfig(
            tuple(ServedEntity(**entity) for entity in config["served"]),
            config["traffic"],
            Capture(**config["capture"]) if config["capture"] else None,
            config["missing_keys"],
            config.get("extra_columns"),  # control of the version before knows none
            shadow=config["shadow"],
        ),
        plans=tuple(_plan(plan) for plan in document["plans"]),
        pending=None,
        state=EndpointState(**{**state, "asleep": tuple(state["asleep"])}),
        created_at=parse_time(document["created_at"]),
        updated_at=parse_time(document["updated_at"]),
        owner=document["owner"],
    )


def _plan(document: Mapping[str, Any]) -> LoadPlan:
    inputs = tuple((name, kind) for name, kind in document["inputs"])
    return LoadPlan(**{**document, "entity": ServedEntity(**document["entity"]), "inputs": inputs})
