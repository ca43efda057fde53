"""What people do with endpoints: make, change, look, remove. A change has two phases.

`prepare` finds what a configuration names; `create` or `update` stores it as pending; every worker loads the `candidate`; then `activate` makes it the one that serves, in a new generation, or `fail` drops it and says why, and what
served before goes on serving.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from millrace.core.clock import Clock
from millrace.core.errors import Conflict, InvalidInput, InvalidState
from millrace.core.events import Event
from millrace.core.names import did_you_mean
from millrace.core.principal import Principal
from millrace.features.types import MissingKeys
from millrace.serving.canary.types import Canary
from millrace.serving.endpoints.events import told
from millrace.serving.endpoints.transitions import begun
from millrace.serving.port import EndpointStore
from millrace.serving.types import (
    Capture,
    Endpoint,
    EndpointConfig,
    EndpointName,
    EndpointState,
    ExtraColumns,
    Former,
    LoadPlan,
    ServedEntity,
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_WHOLE = 100


def served_entity(
    entity: str, version: str | None, name: str | None = None, settings: Mapping[str, object] | None = None
) -> ServedEntity:
    """A model version, or with no version a feature spec, under the name given.

    Else the name is the last part of the entity's, with `-<version>` for a model.

    Raises:
        InvalidInput: the setting `scale_to_zero_after_s` is no number of seconds.
    """
    after = (settings or {}).get("scale_to_zero_after_s", 1)
    if not isinstance(after, int | float) or isinstance(after, bool) or not 0 < after < math.inf:
        raise InvalidInput("'scale_to_zero_after_s' is no number of seconds", hint="give a number above 0, as in 1800")
    last = entity.rpartition(".")[2]
    return ServedEntity(name or (last if version is None else f"{last}-{version}"), entity, version, settings or {})


def endpoint_config(
    *served: ServedEntity,
    traffic: Mapping[str, int] | None = None,
    capture: Capture | None = None,
    missing_keys: MissingKeys | None = None,
    extra_columns: ExtraColumns | None = None,
    shadow: Mapping[str, int] | None = None,
    canary: Canary | None = None,
) -> EndpointConfig:
    """A checked configuration; without `traffic` the only entity takes all of it, with a canary its first step is the traffic.

    Raises:
        InvalidInput: no entity, a bad or doubled name, models beside feature specs, traffic that does not name the
            entities or does not sum to 100, a shadow that takes traffic, a canary of what is not served.
    """
    if not served:
        raise InvalidInput(
            "an endpoint needs something to serve", hint="name at least one model version or feature spec"
        )
    names = [entity.name for entity in served]
    for name in names:
        _check_name(name, "served entity")
    if len(set(names)) < len(names):
        raise InvalidInput("two served entities have one name", hint="give each a name of its own", names=names)
    if len({entity.kind for entity in served}) > 1:
        raise InvalidInput(
            "an endpoint can't serve models and feature specs at once", hint="make an endpoint for each", names=names
        )
    if canary is not None:
        _check_canary(served, canary, traffic)
        traffic, shadow = canary.traffic(0), {**(shadow or {}), **canary.copied(0)}
    shadow = dict(shadow or {})
    alone = [name for name in names if name not in shadow]
    traffic = traffic or ({alone[0]: _WHOLE} if len(alone) == 1 else {})
    config = EndpointConfig(served, traffic, capture, missing_keys, extra_columns, shadow, canary)
    _check_traffic(config)
    _check_shadow(config)
    if capture:
        capture.all_tables()
    return config


def create(store: EndpointStore, clock: Clock, principal: Principal, name: str, config: EndpointConfig) -> Endpoint:
    """Store a new endpoint with its configuration pending.

    Raises:
        InvalidInput: the name has characters outside `[A-Za-z0-9_.-]`, a shadow without capture, or a canary: there is no
            champion yet.
        AlreadyExists: an endpoint of that name is there.
    """
    _check_name(name, "endpoint")
    _check_logged(config)
    _check_champion(EndpointConfig((), {}), config)
    now = clock.now()
    endpoint = Endpoint(
        name=EndpointName(name),
        id=uuid.uuid4().hex,
        generation=0,
        config=EndpointConfig((), {}, config.capture),
        plans=(),
        pending=config,
        state=EndpointState(ready=False, config_update="IN_PROGRESS"),
        created_at=now,
        updated_at=now,
        owner=str(principal),
    )
    store.add(endpoint, told("endpoint.created", endpoint, now, principal))
    return endpoint


def update(store: EndpointStore, clock: Clock, name: str, config: EndpointConfig) -> Endpoint:
    """Store the configuration as pending beside the one that serves.

    Raises:
        NotFound: no such endpoint.
        Conflict: an update of it is in progress.
        InvalidInput: it serves models, and the configuration has feature specs, or the other way round; a shadow or a canary
            without capture; a canary whose champion is not served now.
    """
    endpoint = store.get(EndpointName(name))
    if endpoint.state.config_update == "IN_PROGRESS":
        raise Conflict(f"endpoint '{name}' is being updated", hint="wait until that update has ended", endpoint=name)
    if endpoint.config.kind not in (None, config.kind):
        raise InvalidInput(
            f"endpoint '{name}' serves {endpoint.config.kind}, not {config.kind}",
            hint="its callers would get other answers: make another endpoint, or delete this one first",
            endpoint=name,
        )
    _check_logged(config)
    _check_champion(endpoint.config, config)
    state = replace(endpoint.state, config_update="IN_PROGRESS", message="")
    return _store(store, clock, replace(endpoint, pending=config, state=state))


def candidate(endpoint: Endpoint, plans: tuple[LoadPlan, ...]) -> Endpoint:
    """The endpoint as it will be when its pending configuration is active: what workers load.

    Raises:
        InvalidState: nothing is pending.
    """
    if endpoint.pending is None:
        raise InvalidState(f"endpoint '{endpoint.name}' has no pending configuration", hint="update it first")
    previous = Former(endpoint.config, endpoint.plans) if endpoint.config.served else None
    if endpoint.canary is not None and endpoint.canary.is_running:
        previous = endpoint.previous  # the way back leads to what there was before the canary, not into its middle
    return replace(
        endpoint,
        generation=endpoint.generation + 1,
        config=endpoint.pending,
        plans=plans,
        pending=None,
        previous=previous,
        canary=begun(endpoint.pending, endpoint.canary, endpoint.updated_at),
    )


def activate(store: EndpointStore, clock: Clock, ready: Endpoint, paths: Mapping[str, str], *events: Event) -> Endpoint:
    """Make a candidate that every worker has loaded the active configuration; `paths` is what the workers answered.

    The step of a canary that runs begins now.

    Raises:
        Conflict: the endpoint was changed meanwhile.
    """
    now = clock.now()
    state = EndpointState(ready=True, config_update="NOT_UPDATING", paths=dict(paths))
    canary = replace(ready.canary, since=now) if ready.canary and ready.canary.is_running else ready.canary
    endpoint = replace(ready, state=state, updated_at=now, canary=canary)
    store.update(endpoint, ready.generation - 1, *events)
    return endpoint


def fail(store: EndpointStore, clock: Clock, name: str, message: str, *events: Event) -> Endpoint:
    """Drop the pending configuration and say why; what is active stays."""
    endpoint = store.get(EndpointName(name))
    state = replace(endpoint.state, config_update="UPDATE_FAILED", message=message)
    return _store(store, clock, replace(endpoint, pending=None, state=state), *events)


def delete(store: EndpointStore, name: str, *events: Event) -> None:
    """Take the endpoint out of the store; its inference tables stay.

    Raises:
        NotFound: no such endpoint.
    """
    store.remove(EndpointName(name), *events)


def _check_traffic(config: EndpointConfig) -> None:
    served = [entity.name for entity in config.served]
    unknown = set(config.traffic) - set(served)
    if unknown:
        hint = f"there is: {', '.join(served)}; serve it first, as a shadow say"
        raise InvalidInput(f"traffic names '{min(unknown)}', which is not served", hint=hint)
    if any(percent < 0 for percent in config.traffic.values()) or sum(config.traffic.values()) != _WHOLE:
        raise InvalidInput(
            f"traffic sums to {sum(config.traffic.values())}", hint="give percentages from 0 that sum to 100"
        )


def _check_shadow(config: EndpointConfig) -> None:
    names = [entity.name for entity in config.served]
    for name, percent in config.shadow.items():
        if name not in names:
            raise InvalidInput(f"the shadow '{name}' is not served", hint=did_you_mean(name, names))
        if not 0 < percent <= _WHOLE:
            raise InvalidInput(f"{percent} percent can't be copied to '{name}'", hint="give 1 to 100")
        if config.traffic.get(name, 0):
            raise InvalidInput(
                f"'{name}' takes traffic and is a shadow at once", hint="give it one of the two", entity=name
            )


def _check_canary(served: Sequence[ServedEntity], canary: Canary, traffic: Mapping[str, int] | None) -> None:
    kinds = {entity.name: entity.kind for entity in served}
    for name in (canary.champion, canary.challenger):
        if name not in kinds:
            raise InvalidInput(f"the canary names '{name}', which is not served", hint=did_you_mean(name, kinds))
        if kinds[name] != "models":
            raise InvalidInput(
                f"'{name}' predicts nothing that a canary could compare", hint="update the endpoint without a canary"
            )
    if traffic is not None and {name: percent for name, percent in traffic.items() if percent} != {
        name: percent for name, percent in canary.traffic(0).items() if percent
    }:
        raise InvalidInput("the traffic differs from the canary's first step", hint="leave the traffic out")


def _check_champion(current: EndpointConfig, config: EndpointConfig) -> None:
    canary = config.canary
    if canary is None:
        return
    serving = {entity.name: (entity.entity_name, entity.entity_version) for entity in current.served}
    wanted = {entity.name: (entity.entity_name, entity.entity_version) for entity in config.served}
    if serving.get(canary.champion) != wanted[canary.champion]:
        raise InvalidInput(
            f"the champion '{canary.champion}' is not served yet",
            hint=f"it serves {', '.join(serving) or 'nothing'}: name one of these, or update it without a canary first",
        )


def _check_logged(config: EndpointConfig) -> None:
    if (config.shadow or config.canary) and not (config.capture and config.capture.enabled):
        what = "a canary is judged by" if config.canary else "a shadow is there for"
        raise InvalidInput(
            f"{what} what is logged, and this endpoint logs nothing",
            hint="give it an auto_capture_config: the catalog, schema and prefix of its inference tables",
        )


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"'{name[:64]}' can't be the name of {'an' if what[0] in 'aeiou' else 'a'} {what}",
            hint="use up to 128 letters, digits, _ - and ., not starting with - or .",
        )


def _store(store: EndpointStore, clock: Clock, endpoint: Endpoint, *events: Event) -> Endpoint:
    changed = replace(endpoint, updated_at=clock.now())
    store.update(changed, endpoint.generation, *events)
    return changed
