"""Train a candidate on a training set, and make the model ready to be logged."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from millrace.core.errors import InvalidInput
from millrace.database.mlflow import tell_mlflow
from millrace.features.matrix import model_frame
from millrace.features.training_set import TrainingSet
from millrace.tracking.types import ModelToLog
from millrace.training.encode import text_columns
from millrace.training.labels import binary_labels, both_classes
from millrace.training.types import Candidate, FittedModel, Track, TrainingData

if TYPE_CHECKING:
    import pandas as pd

_ALWAYS = ("mlflow", "numpy", "pandas", "scikit-learn", "skops", "cloudpickle")
_LIBRARY = {"xgboost": "xgboost-cpu", "lightgbm": "lightgbm"}
_EXAMPLE_ROWS = 20


def fit(
    candidate: Candidate, training_set: TrainingSet, *, seed: int, threads: int, track: Track | None = None
) -> FittedModel:
    """Train. Same rows, seed and threads: the same model to the last bit.

    Args:
        candidate: how.
        training_set: rows, label and inputs, as the spec names them.
        seed: for every random choice.
        threads: how many threads may be used.
        track: where a search keeps what it has done.

    Raises:
        InvalidInput: no label is named, no rows, one class, labels that are not 0 and 1, no inputs, an infinite value, a
            wrong option of the candidate, or a custom function that did not return a classifier.
    """
    label, inputs = training_set.spec.label, training_set.spec.inputs
    if label is None:
        raise InvalidInput("the training set has no label", hint="name the column to predict as label")
    if not inputs:
        raise InvalidInput("the model has no inputs", hint="add a lookup, or exclude fewer columns")
    labels = binary_labels(training_set.table, label)
    both_classes(labels, label)
    frame = model_frame(training_set.table, inputs)
    _finite(frame)
    model = candidate.fit(TrainingData(frame, labels, seed, threads, track, _times(training_set)))
    _classifier(model, candidate)
    return FittedModel(
        candidate=candidate.name,
        params=candidate.params,
        is_baseline=candidate.is_baseline,
        complexity=candidate.complexity,
        model=model,
        flavor=getattr(candidate, "flavor", None) or flavor_of(model),
        inputs={name: "string" if name in text_columns(frame) else "double" for name in inputs},
        label=label,
        rows=len(labels),
        seed=seed,
        threads=threads,
        requirements=requirements_of(model),
        example=_spread(frame),
    )


def to_log(
    fitted: FittedModel, feature_spec: str | None = None, metadata: Mapping[str, object] | None = None
) -> ModelToLog:
    """The model with its signature (inputs and outputs), example, pinned requirements and feature spec.

    Args:
        fitted: what was trained.
        feature_spec: JSON of the FeatureSpec, from `features.spec.to_json`.
        metadata: JSON-compatible facts to keep in the MLmodel file beside it.
    """
    return ModelToLog(
        model=fitted.model,
        flavor=fitted.flavor,
        signature=_signature(fitted),
        example=fitted.example,
        feature_spec=feature_spec,
        requirements=fitted.requirements,
        metadata=dict(metadata or {}),
        quick=is_vote(fitted.model),
    )


def flavor_of(model: object) -> str:
    """The MLflow flavor for an object: `xgboost` or `lightgbm` by its class, else `sklearn`."""
    package = type(model).__module__.partition(".")[0]
    return package if package in _LIBRARY else "sklearn"


def is_vote(model: object) -> bool:
    """Whether it is a vote of several models: a bag, or a blend."""
    return type(model).__name__ in {"VotingClassifier", "VotingRegressor"}


def requirements_of(model: object) -> tuple[str, ...]:
    """The installed versions of what the model needs, pinned: `scikit-learn==1.9.1`."""
    names = [*_ALWAYS, *(_LIBRARY[name] for name in sorted(_libraries(model)))]
    return tuple(f"{name}=={metadata.version(name)}" for name in names)


def _libraries(model: object) -> set[str]:
    parts = [step for _, step in getattr(model, "steps", [])]
    if isinstance(several := getattr(model, "estimators_", None), list):  # a vote of several models
        parts += several
    own = {flavor_of(model)} & _LIBRARY.keys()
    return own.union(*map(_libraries, parts))


def _times(training_set: TrainingSet) -> np.ndarray | None:
    """When each row's features were asked for, if all lookups that ask for a time name the same column."""
    names = {lookup.timestamp_lookup_key for lookup in training_set.spec.lookups} - {None}
    if len(names) != 1:
        return None
    return np.asarray(training_set.table[names.pop()].cast(pa.timestamp("us")).to_numpy(zero_copy_only=False))


def _finite(frame: pd.DataFrame) -> None:
    for name in frame.columns.difference(text_columns(frame), sort=False):
        infinite = int(np.isinf(frame[name].to_numpy()).sum())
        if infinite:
            raise InvalidInput(
                f"the feature '{name}' is infinite in {infinite} of {len(frame)} rows",
                hint="make it null where it can't be computed; a division by zero is the usual cause",
                column=name,
            )


def _classifier(model: object, candidate: Candidate) -> None:
    classes = getattr(model, "classes_", None)
    if not hasattr(model, "predict_proba") or classes is None or list(classes) != [0, 1]:
        raise InvalidInput(
            f"the candidate '{candidate.name}' gave a {type(model).__name__}, which is no fitted classifier of 0 and 1",
            hint="return an object with predict, predict_proba and classes_, fitted on data.labels",
        )


def _spread(frame: pd.DataFrame) -> pd.DataFrame:
    rows = np.unique(np.linspace(0, len(frame) - 1, min(len(frame), _EXAMPLE_ROWS)).astype(int))
    return frame.iloc[rows].reset_index(drop=True)


def _signature(fitted: FittedModel) -> object:
    tell_mlflow()
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    columns = [ColSpec(DataType[kind], name) for name, kind in fitted.inputs.items()]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec(DataType.long)]))
