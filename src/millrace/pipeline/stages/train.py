"""The training set, and each candidate trained on it, as a tracked run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from millrace.core.clock import iso
from millrace.core.errors import InvalidInput
from millrace.features.spec import to_json
from millrace.pipeline import training_parts
from millrace.pipeline.context import RunContext
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.stages.stage import Outcome
from millrace.pipeline.training_parts import TrainingParts
from millrace.statistics.metrics import measure
from millrace.tracking.types import RunId
from millrace.training.fit import fit, to_log
from millrace.training.models import predict_proba
from millrace.training.types import Candidate, FittedModel

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class BuildTrainingSet:
    """Assemble training set and holdout. `group` is the fingerprint of the whole training."""

    group: str

    @property
    def name(self) -> str:
        """`training set`."""
        return training_parts.STAGE

    @property
    def fingerprint(self) -> str:
        """The training that it belongs to."""
        return fingerprint(self.name, self.group)

    def run(self, context: RunContext) -> Outcome:
        """Pin, split, look up."""
        parts = training_parts.assemble(
            context.services, context.pipeline, context.pins, training_parts.doubts_of(context)
        )
        context.scratch[self.name] = parts
        detail = f"{parts.train.record.rows:,} rows to train, {parts.holdout.record.rows:,} to judge; {parts.windows}"
        return Outcome(detail, parts.output())


@dataclass(frozen=True)
class Train:
    """Train one candidate."""

    candidate: Candidate
    group: str

    @property
    def name(self) -> str:
        """`train <candidate>`."""
        return f"train {self.candidate.name}"

    @property
    def fingerprint(self) -> str:
        """The training that it belongs to, and the candidate."""
        return fingerprint(self.name, self.group, self.candidate.params)

    def run(self, context: RunContext) -> Outcome:
        """Fit, measure on the holdout, track."""
        parts, pipeline, tracking = training_parts.of_run(context), context.pipeline, context.services.tracking
        run = tracking.start(pipeline.name, self.candidate.name, self._tags(context, parts), key=self.fingerprint)
        try:
            fitted = fitted_model(context, self.candidate)
            metrics = measure(holdout_labels(parts), holdout_scores(context, self.candidate))
        except BaseException:
            tracking.finish(run, failed=True)
            raise
        tracking.log(run, params={**fitted.params, **_shape(parts)}, metrics=metrics)
        tracking.log_text(run, _record(parts), "training_record.json")
        uri = tracking.log_model(
            run, "model", to_log(fitted, to_json(parts.train.spec), {"candidate": fitted.candidate})
        )
        tracking.finish(run)
        by = pipeline.choose_by
        return Outcome(f"holdout {by} {metrics[by]:.4f}", {"run_id": str(run), "model_uri": uri, "metrics": metrics})

    def _tags(self, context: RunContext, parts: TrainingParts) -> Mapping[str, str]:
        return {
            "millrace.pipeline": context.pipeline.name,
            "millrace.training": self.group,
            "millrace.training_set": parts.train.record.fingerprint,
            "millrace.as_of": iso(context.pins.as_of),
        }


def fitted_model(context: RunContext, candidate: Candidate) -> FittedModel:
    """The candidate fitted on this run's training set: at hand, or fitted again to the same bits."""
    key = f"fitted {candidate.name}"
    found = context.scratch.get(key)
    if isinstance(found, FittedModel):
        return found
    parts = training_parts.of_run(context)
    fitted = fit(candidate, parts.train, seed=context.pipeline.seed, threads=context.services.settings.threads)
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


def _shape(parts: TrainingParts) -> Mapping[str, object]:
    return {"training_rows": parts.train.record.rows, "windows": str(parts.windows)}


def _record(parts: TrainingParts) -> str:
    import json

    record = parts.train.record
    body = {
        **parts.output(),
        "as_of": iso(record.as_of),
        "tables": [str(table) for table in record.tables],
        "spec": json.loads(record.spec),
    }
    return json.dumps(body, indent=2)
