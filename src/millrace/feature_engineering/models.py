"""Storing a model that the user has fitted, with the lookups of its training set."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput, NotFound
from millrace.feature_engineering.types import LoggedModel
from millrace.registry.types import ModelName
from millrace.tracking.types import ModelToLog, RunId
from millrace.training.fit import requirements_of
from millrace.workspace import Workspace

if TYPE_CHECKING:
    from millrace.features.training_set import TrainingSet

_FLAVORS = ("sklearn", "xgboost", "lightgbm")
_EXPERIMENT = "feature_engineering"
_SIGNATURE_ROWS = 100


def model_to_log(
    model: object,
    flavor: str,
    training_set: TrainingSet | None,
    *,
    requirements: Sequence[str],
    signature: object,
    example: object,
) -> ModelToLog:
    """The model with its signature, requirements and lookups.

    Raises:
        InvalidInput: an unknown flavor, or nothing to take a signature from.
    """
    if flavor not in _FLAVORS:
        raise InvalidInput(f"flavor '{flavor}' is not supported", hint=f"use mlflow.{', mlflow.'.join(_FLAVORS)}")
    return ModelToLog(
        model=model,
        flavor=flavor,
        signature=signature or _signature(model, training_set),
        example=example,
        feature_spec=training_set.record.spec if training_set else None,
        requirements=(*requirements_of(model), *requirements),
    )


def log_model(workspace: Workspace, model: ModelToLog, name: str, registered_as: str | None) -> LoggedModel:
    """Store the model in the active run, or one of its own, and register it where a name is given."""
    run, ours = _run(workspace)
    uri = workspace.tracking.log_model(run, name, model)
    if ours:
        workspace.tracking.finish(run)
    if registered_as is None:
        return LoggedModel(uri, run, None, None)
    entry = workspace.registry.register(ModelName(registered_as), uri, run, {})
    return LoggedModel(uri, run, registered_as, str(entry.version))


def _run(workspace: Workspace) -> tuple[RunId, bool]:
    """The user's active MLflow run where it is one of this home, else a new one that is ours to close."""
    if "mlflow" in sys.modules:
        import mlflow

        active = mlflow.active_run()
        if active is not None:
            try:
                return workspace.tracking.get(RunId(active.info.run_id)).id, False
            except NotFound:
                pass  # it writes elsewhere
    return workspace.tracking.start(_EXPERIMENT, "log_model", {}), True


def _signature(model: object, training_set: TrainingSet | None) -> object:
    if training_set is None:
        raise InvalidInput(
            "a model without training_set needs a signature", hint="give signature=mlflow.models.infer_signature(X, y)"
        )
    from mlflow.models import infer_signature

    rows = training_set.features().head(_SIGNATURE_ROWS)
    return infer_signature(rows, model.predict(rows))  # type: ignore[attr-defined]
