"""The candidates of a run, fitted: once, or again, to the same bits, after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.pipeline import training_parts
from millrace.pipeline.context import RunContext
from millrace.pipeline.importances import importances
from millrace.pipeline.training_parts import TrainingParts
from millrace.statistics.metrics import measure
from millrace.tracking.types import RunId
from millrace.training.fit import fit
from millrace.training.models import predict_proba
from millrace.training.types import Candidate, FittedModel, Track
from millrace.validation.choose import choose

if TYPE_CHECKING:
    import numpy.typing as npt


def fitted_model(context: RunContext, candidate: Candidate, run: RunId | None = None) -> FittedModel:
    """The candidate fitted on this run's training set: at hand, or fitted again to the same bits. The parts of a search are logged under `run`."""
    key = f"fitted {candidate.name}"
    found = context.scratch.get(key)
    if isinstance(found, FittedModel):
        return found
    parts = training_parts.of_run(context)
    services = context.services
    track = Track(services.settings.home / "automl", services.tracking, context.pipeline.name, run)
    if run is not None:
        track = replace(track, tell=partial(context.progress.stage, f"train {candidate.name}", "running"))
    fitted = fit(candidate, parts.train, seed=context.pipeline.seed, threads=services.settings.threads, track=track)
    context.scratch[key] = fitted
    return fitted


def holdout_scores(context: RunContext, candidate: Candidate) -> npt.NDArray[np.float64]:
    """Probability of class 1 that the fitted candidate gives each holdout row."""
    key = f"scores {candidate.name}"
    found = context.scratch.get(key)
    if isinstance(found, np.ndarray):
        return found
    scores = predict_proba(fitted_model(context, candidate).model, training_parts.of_run(context).holdout.features())
    context.scratch[key] = scores
    return scores


@dataclass(frozen=True, slots=True)
class Contest:
    """All candidates on the holdout.

    Attributes:
        winner: the name of the best by the pipeline's `choose_by`.
        labels: the holdout's, 0 and 1.
        scores: candidate to its probabilities of class 1.
        metrics: candidate to its figures.
    """

    winner: str
    labels: npt.NDArray[np.int64]
    scores: Mapping[str, npt.NDArray[np.float64]]
    metrics: Mapping[str, Mapping[str, float]]


def contest(context: RunContext) -> Contest:
    """Fit all candidates of this run, and choose the best on its holdout."""
    pipeline, labels = context.pipeline, holdout_labels(training_parts.of_run(context))
    scores = {each.name: holdout_scores(context, each) for each in pipeline.candidates}
    metrics = {name: measure(labels, values) for name, values in scores.items()}
    fitted = [fitted_model(context, each) for each in pipeline.candidates]
    return Contest(choose(fitted, metrics, pipeline.choose_by), labels, scores, metrics)


def newest_scores(context: RunContext, candidate: Candidate) -> npt.NDArray[np.float64]:
    """Probability of class 1 that the fitted candidate gives each of the newest labelled rows."""
    parts = training_parts.of_run(context)
    if parts.newest is parts.holdout:
        return holdout_scores(context, candidate)
    return predict_proba(fitted_model(context, candidate).model, parts.newest.features())


def shares_of(context: RunContext, candidate: Candidate) -> Mapping[str, float]:
    """How much the fitted candidate relies on each feature, on the holdout; measured once in a run."""
    key = f"importances {candidate.name}"
    found = context.scratch.get(key)
    if isinstance(found, dict):
        return found
    parts, model = training_parts.of_run(context), fitted_model(context, candidate).model
    shares = importances(
        lambda frame: predict_proba(model, frame),
        parts.holdout.features(),
        holdout_labels(parts),
        seed=context.pipeline.seed,
    )
    context.scratch[key] = dict(shares)
    return shares


def newest_labels(parts: TrainingParts) -> npt.NDArray[np.int64]:
    """The labels of the newest labelled rows, 0 and 1."""
    return np.asarray(parts.newest.table.column(str(parts.newest.spec.label)).to_numpy(), dtype=np.int64)


def holdout_labels(parts: TrainingParts) -> npt.NDArray[np.int64]:
    """The holdout's labels, 0 and 1."""
    label = parts.holdout.spec.label
    labels = parts.holdout.table.column(str(label)).to_numpy()
    if len(np.unique(labels)) < 2:  # noqa: PLR2004 - both classes
        raise InvalidInput(
            f"all {len(labels)} holdout labels are {labels[0]}: no metric can tell a good model from a bad one",
            hint="lengthen split.holdout, or check how the label is made",
        )
    return np.asarray(labels, dtype=np.int64)


def run_of(context: RunContext, candidate: str) -> tuple[RunId, str]:
    """The tracked run and model URI of a candidate in this run."""
    output = context.outputs[f"train {candidate}"]
    return RunId(str(output["run_id"])), str(output["model_uri"])
