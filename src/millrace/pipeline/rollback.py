"""Going back: the previous version on the endpoint again, then the alias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from millrace.core.errors import InvalidState, UsageError
from millrace.pipeline.context import OpenTarget
from millrace.pipeline.port import Services
from millrace.registry.promotion import PRODUCTION, rollback
from millrace.registry.types import ModelName, ModelVersion, Promotion
from millrace.targets.types import DeploymentSpec

DEPLOYMENT = "deployment"  # the key of a promotion's verdict that says where the version went


def roll_back(services: Services, open_target: OpenTarget, model: str | None, why: str) -> Promotion:
    """Serve the previous version of a model again, and move the aliases. Twice is back where it was.

    Raises:
        UsageError: no model was named and the home has several.
        InvalidState: nothing is in production, there is no previous version, or the endpoint did not take it.
    """
    name = ModelName(model) if model else _only_model(services)
    previous = services.registry.by_alias(name, "previous")
    if previous is not None:
        where = _deployment(services, name)
        if where is not None:
            _serve(open_target, DeploymentSpec(where.endpoint, name, str(previous.version), where.capture))
    return rollback(
        services.registry, services.promotions, services.events, services.clock, services.principal, name, why=why
    )


def rolled_back(services: Services, model: ModelName, version: ModelVersion) -> Promotion | None:
    """The rollback that took a version out of production; None where none did, or it has been there again since."""
    log = services.promotions.read(model)
    moves = [each for each in log if each.alias == PRODUCTION and version in {each.version, each.replaced}]
    # Only a rollback comes without a verdict.
    return moves[-1] if moves and moves[-1].replaced == version and not moves[-1].verdict else None


def _only_model(services: Services) -> ModelName:
    models = sorted({promotion.model for promotion in services.promotions.read() if promotion.alias == PRODUCTION})
    if len(models) == 1:
        return models[0]
    if not models:
        raise InvalidState("nothing was promoted to production yet", hint="run a pipeline first: millrace run")
    raise UsageError(f"this home has {len(models)} models", hint=f"name one of {', '.join(models)}")


def _deployment(services: Services, model: ModelName) -> DeploymentSpec | None:
    for promotion in reversed(services.promotions.read(model)):
        kept = promotion.verdict.get(DEPLOYMENT)
        if isinstance(kept, Mapping):
            capture = cast("list[str] | None", kept.get("capture"))
            return DeploymentSpec(str(kept["endpoint"]), model, str(promotion.version), _three(capture))
    return None


def _three(capture: list[str] | None) -> tuple[str, str, str] | None:
    return (capture[0], capture[1], capture[2]) if capture else None


def _serve(open_target: OpenTarget, spec: DeploymentSpec) -> None:
    with open_target() as target:
        status = target.deploy(spec)
    if status.state != "ready" or status.version != spec.version:
        raise InvalidState(
            f"endpoint {spec.endpoint} did not take v{spec.version}: {status.message or status.state}",
            hint=f"it still serves v{status.version}, and no alias was moved",
        )
