"""What the client takes and gives back for endpoints that serve features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from millrace.core.errors import InvalidInput
from millrace.core.names import DEFAULT_CATALOG
from millrace.targets.types import FeatureDeployment, FeatureStatus, ServedSpec


@dataclass(frozen=True, slots=True)
class ServedEntity:
    """A feature spec behind an endpoint.

    Attributes:
        feature_spec_name: one to three levels, as `ml.specs.churn`.
        name: of the served entity; None: the spec's last part.
        workload_size, scale_to_zero_enabled, instance_profile_arn: accepted, kept and given back; a home's workers serve
            every endpoint alike.
    """

    feature_spec_name: str
    name: str | None = None
    workload_size: str | None = None
    scale_to_zero_enabled: bool | None = None
    instance_profile_arn: str | None = None

    def to_serve(self) -> ServedSpec:
        """As a target takes it."""
        settings = {
            "workload_size": self.workload_size,
            "scale_to_zero_enabled": self.scale_to_zero_enabled,
            "instance_profile_arn": self.instance_profile_arn,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        return ServedSpec(self.feature_spec_name, self.name, given)

    @classmethod
    def of(cls, served: ServedSpec) -> ServedEntity:
        """From what a target says."""
        settings = served.settings
        return cls(
            served.spec,
            served.name,
            cast("str | None", settings.get("workload_size")),
            cast("bool | None", settings.get("scale_to_zero_enabled")),
            cast("str | None", settings.get("instance_profile_arn")),
        )


@dataclass(frozen=True, slots=True)
class AutoCaptureConfig:
    """Where requests and answers are kept: the table `<catalog_name>.<schema_name>.<table_name_prefix>_payload`."""

    schema_name: str
    table_name_prefix: str
    catalog_name: str = DEFAULT_CATALOG


@dataclass(frozen=True, slots=True)
class EndpointCoreConfig:
    """What an endpoint serves.

    Attributes:
        served_entities: one or several.
        traffic: with several, the percentage of requests for each by its name; they sum to 100.
        auto_capture_config: None: nothing is kept; in an update, what was.
    """

    served_entities: ServedEntity | Sequence[ServedEntity]
    traffic: Mapping[str, int] | None = None
    auto_capture_config: AutoCaptureConfig | None = None

    def to_deploy(self) -> FeatureDeployment:
        """As a target takes it.

        Raises:
            InvalidInput: a served entity is none.
        """
        given = self.served_entities
        entities = (given,) if isinstance(given, ServedEntity) else tuple(given)
        if not all(isinstance(entity, ServedEntity) for entity in entities):
            raise InvalidInput(
                "served_entities has something that is not a ServedEntity",
                hint="ServedEntity(feature_spec_name='ml.specs.churn')",
            )
        capture = self.auto_capture_config
        return FeatureDeployment(
            served=tuple(entity.to_serve() for entity in entities),
            traffic=self.traffic,
            capture=None if capture is None else (capture.catalog_name, capture.schema_name, capture.table_name_prefix),
        )


@dataclass(frozen=True, slots=True)
class FeatureServingEndpoint:
    """An endpoint that serves features.

    Attributes:
        state: `READY`: it answers; `NOT_READY`: its first deployment goes on, or failed.
        config_update: `NOT_UPDATING`, `IN_PROGRESS`, or `UPDATE_FAILED`: then it serves what it did before.
        message: why an update failed.
        config: what it serves, or is to serve where it never has.
        config_version: grows with each change.
        endpoint_url: where to POST questions.
    """

    name: str
    creator: str
    created_at: datetime
    state: Literal["READY", "NOT_READY"]
    config_update: Literal["NOT_UPDATING", "IN_PROGRESS", "UPDATE_FAILED"]
    message: str
    config: EndpointCoreConfig
    config_version: int
    endpoint_url: str

    @classmethod
    def of(cls, status: FeatureStatus) -> FeatureServingEndpoint:
        """From what a target says."""
        serving = status.serving
        return cls(
            name=status.endpoint,
            creator=status.creator,
            created_at=status.created_at,
            state="READY" if status.ready else "NOT_READY",
            config_update=_UPDATES[status.state],
            message=status.message,
            config=EndpointCoreConfig(
                served_entities=tuple(ServedEntity.of(served) for served in serving.served),
                traffic=serving.traffic,
                auto_capture_config=_captured(serving.capture),
            ),
            config_version=status.generation,
            endpoint_url=status.url,
        )


_UPDATES: Mapping[str, Literal["NOT_UPDATING", "IN_PROGRESS", "UPDATE_FAILED"]] = {
    "ready": "NOT_UPDATING",
    "updating": "IN_PROGRESS",
    "failed": "UPDATE_FAILED",
}


def _captured(capture: tuple[str, str, str] | None) -> AutoCaptureConfig | None:
    if capture is None:
        return None
    catalog, schema, prefix = capture
    return AutoCaptureConfig(schema, prefix, catalog)
