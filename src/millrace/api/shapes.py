"""The wire shapes of serving endpoints: Databricks' JSON, read into our values and written from them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast, get_args

from millrace.access.types import Level
from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.core.names import DEFAULT_CATALOG, did_you_mean
from millrace.features.types import MissingKeys
from millrace.serving.canary.documents import canary_document, canary_from, run_document
from millrace.serving.endpoints import endpoints
from millrace.serving.types import Capture, Endpoint, EndpointConfig, ExtraColumns, ServedEntity

Json = dict[str, Any]

_FOREIGN = ("external_model", "foundation_model")
_OWN = ("name", "entity_name", "entity_version", "model_name", "model_version")
_CONFIG_NAMES = (
    *("name", "served_entities", "served_models", "traffic_config", "auto_capture_config"),
    *("missing_keys", "extra_columns", "shadow_config", "canary_config"),
)
_ENTITY_NAMES = (
    *(*_OWN, *_FOREIGN, "workload_size", "workload_type", "scale_to_zero_enabled", "scale_to_zero_after_s"),
    *("batching", "own_packages", "environment_vars", "min_provisioned_throughput", "max_provisioned_throughput"),
)


def read_config(config: object, gateway: object = None) -> EndpointConfig:
    """An endpoint's configuration from `config` of a create, or the body of an update; `gateway` is `ai_gateway`.

    Takes `served_entities` and the older `served_models`, and a capture from `auto_capture_config` or from the gateway's
    `inference_table_config`. A served entity without a version is a feature spec. Ours are `missing_keys`, `extra_columns`,
    `shadow_config`, with routes as the traffic's, and `canary_config`.

    Raises:
        InvalidInput: a part is missing or has the wrong type; the message names it.
    """
    body = _object(config, "config")
    _check_names(body, _CONFIG_NAMES)
    listed = body.get("served_entities") or body.get("served_models") or []
    served = [read_entity(entity) for entity in _list(listed, "served_entities")]
    tables = body.get("auto_capture_config") or _object(gateway or {}, "ai_gateway").get("inference_table_config")
    canary = body.get("canary_config")
    return endpoints.endpoint_config(
        *served,
        traffic=_percents(body.get("traffic_config"), "traffic"),
        capture=_capture(tables),
        missing_keys=cast("MissingKeys | None", _chosen(body, "missing_keys", get_args(MissingKeys))),
        extra_columns=cast("ExtraColumns | None", _chosen(body, "extra_columns", get_args(ExtraColumns))),
        shadow=_percents(body.get("shadow_config"), "shadow"),
        canary=None if canary is None else canary_from(canary),
    )


def write_endpoint(endpoint: Endpoint, url: str, level: Level | None = "CAN_MANAGE") -> Json:
    """An endpoint in the detailed shape; `url` is the server's, `level` the caller's. Times are milliseconds since 1970."""
    state = endpoint.state
    document: Json = {
        "name": endpoint.name,
        "id": endpoint.id,
        "creator": endpoint.owner,
        "creation_timestamp": _ms(endpoint.created_at),
        "last_updated_timestamp": _ms(endpoint.updated_at),
        "state": {"ready": "READY" if state.ready else "NOT_READY", "config_update": state.config_update},
        "config": {
            **_config(endpoint, endpoint.config, "DEPLOYMENT_READY" if state.ready else "DEPLOYMENT_RECOVERING"),
            "config_version": endpoint.generation,
        },
        "endpoint_url": f"{url}/serving-endpoints/{endpoint.name}/invocations",
        "permission_level": level,
        "route_optimized": False,
        "tags": [],
    }
    if endpoint.pending is not None:
        document["pending_config"] = {
            **_config(endpoint, endpoint.pending, "DEPLOYMENT_CREATING"),
            "config_version": endpoint.generation + 1,
            "start_time": _ms(endpoint.updated_at),
        }
    if endpoint.canary is not None:
        document["canary"] = run_document(endpoint.canary)
    if endpoint.previous is not None:
        document["previous"] = [str(entity) for entity in endpoint.previous.config.served]
    if state.message:
        document["state"]["message"] = state.message
    return document


def _config(endpoint: Endpoint, config: EndpointConfig, deployment: str) -> Json:
    entities = [_written(endpoint, entity, deployment) for entity in config.served]
    document: Json = {
        "served_entities": entities,
        "served_models": [
            {**entity, "model_name": entity["entity_name"], "model_version": entity["entity_version"]}
            for entity in entities
            if "entity_version" in entity
        ],
        "traffic_config": {"routes": _routes(config.traffic, "traffic")},
        "missing_keys": config.missing_keys or "default",
        "extra_columns": config.extra_columns or "ignore",
    }
    if config.shadow:
        document["shadow_config"] = {"routes": _routes(config.shadow, "shadow")}
    if config.canary is not None:
        document["canary_config"] = canary_document(config.canary)
    if config.capture is not None:
        capture = config.capture
        document["auto_capture_config"] = {
            "catalog_name": capture.catalog,
            "schema_name": capture.schema,
            "table_name_prefix": capture.prefix,
            "enabled": capture.enabled,
            "state": {"payload_table": {"name": f"{capture.prefix}_payload", "status": "READY"}},
        }
    return document


def _routes(percents: Mapping[str, int], what: str) -> list[Json]:
    return [
        {"served_entity_name": name, "served_model_name": name, f"{what}_percentage": percent}
        for name, percent in percents.items()
    ]


def _written(endpoint: Endpoint, entity: ServedEntity, deployment: str) -> Json:
    return {
        "workload_size": "Small",
        "workload_type": "CPU",
        "scale_to_zero_enabled": False,
        **entity.settings,
        "name": entity.name,
        "entity_name": entity.entity_name,
        **({} if entity.entity_version is None else {"entity_version": entity.entity_version}),
        "creator": endpoint.owner,
        "creation_timestamp": _ms(endpoint.updated_at),
        "state": {"deployment": deployment, "deployment_state_message": _how(endpoint, entity)},
    }


def _how(endpoint: Endpoint, entity: ServedEntity) -> str:
    """How an entity answers, and why so; first, in Databricks' words, that it is asleep."""
    path = endpoint.state.paths.get(entity.name, "")
    return f"Scaled to zero; {path}" if entity.name in endpoint.state.asleep else path


def read_entity(given: object) -> ServedEntity:
    """A served entity; a model, or with no version a feature spec."""
    entity = _object(given, "served_entities")
    _check_names(entity, _ENTITY_NAMES)
    for foreign in _FOREIGN:
        if entity.get(foreign):
            raise InvalidInput(
                f"'{foreign}' is not served here", hint="name a registered model and its version, or a feature spec"
            )
    model = _text(entity, "entity_name", "model_name")
    version = None if _is_spec(entity) else _text(entity, "entity_version", "model_version")
    settings = {key: value for key, value in entity.items() if key not in _OWN and value is not None}
    name = entity.get("name")
    return endpoints.served_entity(model, version, None if name is None else str(name), settings)


def _is_spec(entity: Mapping[str, object]) -> bool:
    """Whether there is no version: then it is a feature spec. The older shape knows only models."""
    versions = [entity.get(name) for name in ("entity_version", "model_version")]
    return "entity_name" in entity and all(version in (None, "") for version in versions)


def _percents(given: object, what: str) -> dict[str, int] | None:
    """Served entity name to `<what>_percentage`, of a `<what>_config`."""
    routes = _list(_object(given or {}, f"{what}_config").get("routes") or [], f"{what}_config.routes")
    percents: dict[str, int] = {}
    for route in (_object(route, f"{what}_config.routes") for route in routes):
        percent = read_percent(route, f"{what}_percentage")
        percents[_text(route, "served_entity_name", "served_model_name")] = percent
    return percents or None


def read_percents(body: Mapping[str, Any], what: str) -> dict[str, int]:
    """Served entity name to percent, of the `<what>_config` that a body must have."""
    percents = _percents(body.get(f"{what}_config"), what)
    if percents is None:
        raise InvalidInput(f"'{what}_config' is missing", hint="give its routes", field=f"{what}_config")
    return percents


def read_percent(body: Mapping[str, Any], name: str) -> int:
    """A whole number that a body must have."""
    percent = body.get(name)
    if not isinstance(percent, int) or isinstance(percent, bool):
        raise InvalidInput(f"'{name}' is not a whole number", hint="give whole percents", field=name)
    return percent


def _capture(given: object) -> Capture | None:
    if given is None:
        return None
    tables = _object(given, "auto_capture_config")
    return Capture(
        catalog=str(tables.get("catalog_name") or DEFAULT_CATALOG),
        schema=_text(tables, "schema_name"),
        prefix=_text(tables, "table_name_prefix"),
        enabled=tables.get("enabled") is not False,
    )


def _chosen(body: Mapping[str, Any], name: str, known: Sequence[str]) -> str | None:
    given = body.get(name)
    if given is None or str(given) in known:
        return None if given is None else str(given)
    raise InvalidInput(f"'{name}' is none of those there are", hint=f"choose {', '.join(known)}", field=name)


def _text(given: Mapping[str, object], *names: str) -> str:
    """The first of several fields that is there, as text: versions come as text or as numbers."""
    for name in names:
        value = given.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    raise InvalidInput(f"'{names[0]}' is missing", hint=f'give it as text: "{names[0]}": "..."', field=names[0])


def _object(given: object, what: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidInput(f"'{what}' is not a JSON object", hint="look at docs/api.md for the shape", field=what)
    return given


def _list(given: object, what: str) -> Sequence[object]:
    if not isinstance(given, list):
        raise InvalidInput(f"'{what}' is not a JSON list", hint="look at docs/api.md for the shape", field=what)
    return given


def _check_names(given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse a name that is nearly one that there is. Databricks has others, which mean nothing here and are let through."""
    for name in given.keys() - set(known):
        if difflib.get_close_matches(name, known, n=1, cutoff=0.85):
            raise InvalidInput(f"'{name}' is not known here", hint=did_you_mean(name, known), field=name)


def _ms(moment: datetime) -> int:
    return epoch_us(moment) // 1000
