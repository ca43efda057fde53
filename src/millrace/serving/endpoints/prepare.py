"""From a configuration's names to what workers load: models on disk, feature specs as they are now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import did_you_mean
from millrace.features.functions.store import FeatureSpecStore
from millrace.features.online.lookup import OnlineFeatures
from millrace.features.port import OnlineStore
from millrace.features.spec import to_json
from millrace.registry.port import Registry
from millrace.registry.types import ModelName, ModelVersion
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.types import FEATURE_SPEC, EndpointConfig, LoadPlan, ServedEntity

_SHOWN_VERSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Sources:
    """Where served entities come from.

    Attributes:
        models: the registry; asked for where a model is served or looked for, because it is slow to open.
        specs: named feature specs.
        online: feature values by key.
    """

    models: Callable[[], Registry]
    specs: FeatureSpecStore
    online: OnlineStore


def prepare(sources: Sources, config: EndpointConfig) -> tuple[LoadPlan, ...]:
    """Find each entity's model on disk and what it takes, or its feature spec, which goes into the plan as it is now.

    Raises:
        NotFound: no such model, version or spec; the hint names the nearest.
        InvalidInput: a folder that is no MLflow model, a model without a signature, or a model without its version.
        InvalidState: a table that a spec looks up is not online, or lacks a feature.
    """
    return tuple(_prepare_one(sources, entity) for entity in config.served)


def _prepare_one(sources: Sources, entity: ServedEntity) -> LoadPlan:
    if entity.entity_version is None:
        return _features(sources, entity)
    return _model(sources, entity, ModelVersion(entity.entity_version))


def _features(sources: Sources, entity: ServedEntity) -> LoadPlan:
    try:
        from millrace.features.feature_specs import spec_name  # it imports Arrow

        kept = sources.specs.get(spec_name(entity.entity_name))
    except (NotFound, InvalidInput) as error:
        # What has no version is a spec, or a model whose version was forgotten.
        if sources.models().versions(ModelName(entity.entity_name)):
            raise InvalidInput(
                f"'entity_version' is missing: '{entity.entity_name}' is a model",
                hint="name the version to serve",
                field="entity_version",
            ) from error
        raise
    OnlineFeatures(sources.online, kept.spec).check()
    return LoadPlan(entity, "", FEATURE_SPEC, (), to_json(kept.spec))


def _model(sources: Sources, entity: ServedEntity, version: ModelVersion) -> LoadPlan:
    registry, model = sources.models(), ModelName(entity.entity_name)
    known = [entry.version for entry in registry.versions(model)]
    if not known:
        specs = {spec.name for spec in sources.specs.list()}
        hint = did_you_mean(model, registry.models())
        if model in specs:
            hint = "it is a feature spec: leave entity_version out"
        raise NotFound(f"no model '{model}' in the registry", hint=hint, model=model)
    if version not in known:
        hint = f"its versions are {', '.join(known[-_SHOWN_VERSIONS:])}"
        raise NotFound(f"model '{model}' has no version '{version}'", hint=hint, model=model, version=version)
    folder = registry.download(model, version)
    facts = read_model_folder(folder)
    return LoadPlan(entity, str(folder), facts.flavor, facts.inputs, facts.feature_spec)
