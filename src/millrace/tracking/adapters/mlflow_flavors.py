"""Write a model folder in one of MLflow's flavors."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.database.mlflow import quiet, tell_mlflow
from millrace.tracking.types import ModelToLog

# What may be restored without running code of its own: the libraries that we train with.
_TRUSTED = ("sklearn.", "numpy.", "scipy.", "xgboost.", "lightgbm.", "collections.", "builtins.")
_CLOUDPICKLE: Mapping[str, object] = {"serialization_format": "cloudpickle"}
_LOUD = ("mlflow.sklearn", "mlflow.lightgbm", "mlflow.xgboost", "mlflow.utils.environment", "mlflow.models.model")


def save_model(model: ModelToLog, path: Path, *, logged: Any, at: datetime) -> None:
    """Write the folder, which must not exist, for an `mlflow.entities.LoggedModel` that waits for it.

    scikit-learn's and LightGBM's objects are written with skops, which restores known types only; what skops can't
    write or does not know (a class of your own) is written with cloudpickle.

    Raises:
        InvalidInput: a flavor that is none of `xgboost`, `lightgbm`, `sklearn`.
    """
    tell_mlflow()
    from mlflow.models import Model

    if model.flavor not in _FORMATS:
        raise InvalidInput(f"models are not logged as '{model.flavor}'", hint=did_you_mean(model.flavor, _FORMATS))
    flavor: Any = importlib.import_module(f"mlflow.{model.flavor}")
    description = Model(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        metadata=_metadata(model),
        utc_time_created=str(at.replace(tzinfo=None)),
    )
    with quiet(*_LOUD):
        flavor.save_model(
            model.model,
            str(path),
            mlflow_model=description,
            signature=model.signature,
            input_example=model.example,
            pip_requirements=list(model.requirements) or None,
            **_format_of(model, path.parent),
        )


def _format_of(model: ModelToLog, scratch: Path) -> Mapping[str, object]:
    if model.quick and model.flavor != "xgboost":
        return _CLOUDPICKLE
    formats: Mapping[str, object] = _FORMATS[model.flavor](model.model, scratch)
    return formats


def _metadata(model: ModelToLog) -> dict[str, object] | None:
    ours = dict(model.metadata)
    if model.feature_spec is not None:
        ours["feature_spec"] = model.feature_spec
    return {"millrace": ours} if ours else None


def _format(model: object, scratch: Path) -> Mapping[str, object]:
    import skops.io  # type: ignore[import-untyped,unused-ignore]

    trial = scratch / "trial.skops"
    try:
        skops.io.dump(model, trial)
        types = skops.io.get_untrusted_types(file=trial)
        skops.io.load(trial, trusted=types if _all_known(types) else [])
    except Exception:  # noqa: BLE001 - skops fails in many ways on objects that are not its own; cloudpickle takes them
        return _CLOUDPICKLE
    finally:
        trial.unlink(missing_ok=True)
    return {"serialization_format": "skops", "skops_trusted_types": types}


def _all_known(types: list[str]) -> bool:
    return all(name.startswith(_TRUSTED) for name in types)


def _booster(_model: object, _scratch: Path) -> Mapping[str, object]:
    return {"model_format": "ubj"}


_FORMATS: Mapping[str, Any] = {"sklearn": _format, "lightgbm": _format, "xgboost": _booster}
