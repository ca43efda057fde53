"""Batch scoring from the model alone: its lookups travel with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.events import Event
from millrace.features.augment import augment_pinned
from millrace.features.matrix import model_frame
from millrace.features.spec import from_json
from millrace.lake.types import TableVersion
from millrace.registry.types import ModelName, ModelVersion
from millrace.training.models import feature_spec_of
from millrace.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

_PREDICTION = "prediction"
_TYPES = {
    "double": "float64",
    "float": "float32",
    "int": "int32",
    "integer": "int32",
    "bigint": "int64",
    "long": "int64",
    "string": "string",
    "boolean": "bool",
}


def score(
    workspace: Workspace,
    model_uri: str,
    rows: pa.Table,
    result_type: str,
    params: Mapping[str, object] | None,
    *,
    read: Sequence[TableVersion] = (),
) -> pa.Table:
    """The rows with the features that were looked up, and `prediction`, in their order.

    The event `batch.scored` keeps which model it was, and every table and version that was read: those of the lookups, and
    `read`, which the rows were made from.

    Raises:
        NotFound: no such model or version.
        InvalidInput: an unknown type, a missing key or input, or a column `prediction` that is there already.
    """
    import mlflow.pyfunc
    import pyarrow as pa

    if result_type not in _TYPES:
        raise InvalidInput(f"result_type '{result_type}' is not known", hint=f"use one of {', '.join(_TYPES)}")
    if _PREDICTION in rows.column_names:
        raise InvalidInput(f"the rows have a column '{_PREDICTION}' already", hint="rename it, or leave it out")
    as_of, folder = workspace.clock.now(), local_folder(workspace, model_uri)
    model = mlflow.pyfunc.load_model(str(folder))
    kept = feature_spec_of(folder)
    if kept is None:
        inputs = [str(name) for name in model.metadata.get_input_schema().input_names()]
        found = rows
    else:
        spec = from_json(kept)
        inputs = list(spec.inputs)
        found, looked_up = augment_pinned(workspace.lake, workspace.asof, spec, rows, as_of=as_of)
        read = tuple(dict.fromkeys([*read, *looked_up]))
    predictions = _predict(model, model_frame(found, inputs), params)
    data = {"model_id": model.metadata.model_id, "rows": len(rows), "tables": [str(table) for table in read]}
    workspace.events.append(Event("batch.scored", model_uri, as_of, workspace.principal, data))
    return found.append_column(_PREDICTION, pa.array(predictions).cast(pa.type_for_alias(_TYPES[result_type])))


def local_folder(workspace: Workspace, model_uri: str) -> Path:
    """The folder of `models:/name/1`, `models:/name@alias` or another URI that MLflow can load."""
    name = model_uri.removeprefix("models:/")
    if model_uri.startswith("models:/") and not name.startswith("m-"):
        return _registered(workspace, name)
    import mlflow.artifacts
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    url = workspace.settings.mlflow_url
    try:
        if model_uri.startswith("models:/"):
            # Asked for by its id, MLflow looks in the store that the process is set to, whatever it is told here.
            location = str(MlflowClient(tracking_uri=url).get_logged_model(name).artifact_location)
        else:
            location = model_uri
        return Path(mlflow.artifacts.download_artifacts(location, tracking_uri=url))
    except (MlflowException, OSError) as error:
        raise NotFound(
            f"there is no model at {model_uri}: {str(error).splitlines()[0]}",
            hint="write models:/name/1, models:/name@production, or the model_uri that log_model gave",
        ) from error


def _registered(workspace: Workspace, name: str) -> Path:
    model, at, alias = name.partition("@")
    if at:
        entry = workspace.registry.by_alias(ModelName(model), alias)
        if entry is None:
            raise NotFound(f"{model} has no alias '{alias}'", hint="see `millrace log` for what was promoted")
        return workspace.registry.download(entry.model, entry.version)
    model, _, version = name.rpartition("/")
    if not version.isdecimal():
        raise InvalidInput(
            f"'models:/{name}' is not a model URI", hint="write models:/name/1 or models:/name@production"
        )
    return workspace.registry.download(ModelName(model), ModelVersion(version))


def _predict(model: Any, frame: Any, params: Mapping[str, object] | None) -> Any:
    import numpy as np

    if not len(frame):
        return np.empty(0)  # many models refuse to be asked about nothing
    return np.asarray(model.predict(frame, params=dict(params) if params else None)).reshape(len(frame), -1)[:, 0]
