"""Small changes of what an endpoint serves, each as the configuration that it leads to."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.core.errors import Conflict, InvalidInput, InvalidState
from millrace.serving.canary.documents import canary_from
from millrace.serving.endpoints.endpoints import endpoint_config
from millrace.serving.types import Endpoint, EndpointConfig, ServedEntity


def with_canary(endpoint: Endpoint, challenger: ServedEntity, settings: Mapping[str, object]) -> EndpointConfig:
    """What the endpoint serves with a challenger that takes over from the one that has all of the traffic.

    A canary that is under way is replaced: the new challenger meets the same champion.

    Args:
        endpoint: as it is.
        challenger: a model version.
        settings: of the canary, as JSON (`steps`, `min_requests`, ...); what is left out has its default.

    Raises:
        InvalidState: several share the traffic, or nothing is served.
        InvalidInput: the challenger is served already, or a setting is wrong.
    """
    running = endpoint.canary is not None and endpoint.canary.is_running
    config = endpoint.previous.config if running and endpoint.previous else endpoint.config
    taking = [entity for entity in config.served if config.traffic.get(entity.name)]
    if len(taking) != 1:
        raise InvalidState(
            f"endpoint '{endpoint.name}' has {len(taking)} entities that take traffic, and a canary one champion",
            hint="give one of them all of the traffic first",
            endpoint=endpoint.name,
        )
    champion = taking[0]
    if (champion.entity_name, champion.entity_version) == (challenger.entity_name, challenger.entity_version):
        raise InvalidInput(f"{challenger} is what endpoint '{endpoint.name}' serves", hint="name another version")
    others = [entity for entity in config.served if entity.name not in {champion.name, challenger.name}]
    return _amended(
        endpoint,
        [champion, challenger, *others],
        shadow={name: percent for name, percent in config.shadow.items() if name != challenger.name},
        canary={**settings, "champion": champion.name, "challenger": challenger.name},
    )


def with_traffic(endpoint: Endpoint, traffic: Mapping[str, int]) -> EndpointConfig:
    """What the endpoint serves, the traffic split otherwise; who gets some is a shadow no more."""
    config = endpoint.config
    shadow = {name: percent for name, percent in config.shadow.items() if not traffic.get(name)}
    return _amended(endpoint, config.served, traffic=traffic, shadow=shadow)


def with_shadow(endpoint: Endpoint, entity: ServedEntity, percent: int) -> EndpointConfig:
    """What the endpoint serves, with a percent of its requests copied to an entity; without the entity for 0 percent.

    Raises:
        Conflict: a canary is under way.
    """
    config = endpoint.config
    if endpoint.canary is not None and endpoint.canary.is_running:
        raise Conflict(f"endpoint '{endpoint.name}' has a canary under way", hint="wait for its end, or roll it back")
    others = [each for each in config.served if each.name != entity.name]
    shadow = {name: share for name, share in config.shadow.items() if name != entity.name}
    if percent:
        return _amended(endpoint, [*others, entity], traffic=config.traffic, shadow={**shadow, entity.name: percent})
    return _amended(endpoint, others, traffic=config.traffic, shadow=shadow)


def _amended(
    endpoint: Endpoint,
    served: list[ServedEntity] | tuple[ServedEntity, ...],
    *,
    traffic: Mapping[str, int] | None = None,
    shadow: Mapping[str, int],
    canary: Mapping[str, object] | None = None,
) -> EndpointConfig:
    kept = {entity.name for entity in served}
    return endpoint_config(
        *served,
        traffic=traffic and {name: percent for name, percent in traffic.items() if name in kept or percent},
        capture=endpoint.config.capture,
        missing_keys=endpoint.config.missing_keys,
        extra_columns=endpoint.config.extra_columns,
        shadow=shadow,
        canary=None if canary is None else canary_from(canary),
    )
