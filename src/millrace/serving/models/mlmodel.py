"""What an MLflow model folder says of itself, read without importing MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace.core.errors import InvalidInput
from millrace.registry.trusted import require_closed
from millrace.serving.bodies.rows import ValueKind
from millrace.serving.inputs import kind_of

_NATIVE = ("xgboost", "lightgbm", "sklearn")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """The facts of a logged model.

    Attributes:
        flavor: `xgboost`, `lightgbm`, `sklearn` or `python_function`.
        details: the flavor's own entries: file names, classes, formats.
        inputs: (column, MLflow type name) of the signature, in its order.
        feature_spec: JSON of the FeatureSpec; None where the model has no lookups.
        outputs: what it gives for each row: `predict`, or its columns where there are several; empty where it does not say.
        example: the model's input example, a file in the folder; None where it has none in JSON.
        python: the version of Python that it was logged with; None where it does not say.
    """

    flavor: str
    details: Mapping[str, object]
    inputs: tuple[tuple[str, str], ...]
    feature_spec: str | None
    example: Path | None
    outputs: Mapping[str, ValueKind] = field(default_factory=dict)
    python: str | None = None


def read_model_folder(folder: Path) -> ModelFolder:
    """Read `MLmodel`.

    Raises:
        InvalidInput: there is none, it is damaged, or the model has no signature with named columns.
        PermissionDenied: a file of the model lies outside of the folder.
    """
    import yaml  # type: ignore[import-untyped,unused-ignore]

    try:
        text = (folder / "MLmodel").read_text()
        # C's loader, where it was built, takes a tenth of the time.
        content = yaml.load(text, yaml.CSafeLoader) if yaml.__with_libyaml__ else yaml.safe_load(text)
        return _facts(folder, content)
    except FileNotFoundError as error:
        raise InvalidInput(f"{folder.name} holds no MLflow model", hint="log the model with MLflow again") from error
    except (OSError, yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"the file MLmodel of {folder.name} can't be read: {type(error).__name__}",
            hint="log the model with MLflow again",
        ) from error


def _facts(folder: Path, content: Mapping[str, Any]) -> ModelFolder:
    flavors = content.get("flavors") or {}
    require_closed(folder, flavors)
    flavor = next((name for name in _NATIVE if name in flavors), "python_function")
    millrace = (content.get("metadata") or {}).get("millrace") or {}
    return ModelFolder(
        flavor,
        flavors.get(flavor) or {},
        _inputs(content),
        millrace.get("feature_spec"),
        _example(folder, content),
        _outputs(content),
        (flavors.get("python_function") or {}).get("python_version"),
    )


def _inputs(content: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    text = (content.get("signature") or {}).get("inputs")
    columns = json.loads(text) if text else []
    if not columns or any("name" not in column for column in columns):
        raise InvalidInput(
            "the model has no signature with named input columns",
            hint="log it with signature=mlflow.models.infer_signature(features, predictions)",
        )
    return tuple((column["name"], str(column["type"])) for column in columns)


def _outputs(content: Mapping[str, Any]) -> dict[str, ValueKind]:
    text = (content.get("signature") or {}).get("outputs")
    columns = json.loads(text) if text else []
    kinds = [_output_kind(column) for column in columns]
    if len(columns) == 1:
        return {"predict": kinds[0]}
    return {column["name"]: kind for column, kind in zip(columns, kinds, strict=True) if "name" in column}


def _output_kind(column: Mapping[str, Any]) -> ValueKind:
    # A tensor has numpy's name for its type, int64 or float32, a column MLflow's own.
    dtype = str((column.get("tensor-spec") or {}).get("dtype", ""))
    if dtype:
        return "whole" if "int" in dtype else "number" if "float" in dtype else "boolean" if dtype == "bool" else "text"
    return kind_of(str(column.get("type")))


def _example(folder: Path, content: Mapping[str, Any]) -> Path | None:
    info = content.get("saved_input_example_info") or {}
    if info.get("type") != "dataframe" or info.get("pandas_orient") != "split":
        return None
    path = folder / str(info.get("artifact_path"))
    return path if path.is_file() and path.suffix == ".json" else None
