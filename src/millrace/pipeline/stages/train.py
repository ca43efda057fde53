"""The training set, and each candidate trained on it, as a tracked run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.core.clock import iso
from millrace.features.spec import to_json
from millrace.pipeline import training_parts
from millrace.pipeline.attempts import retraining_tag
from millrace.pipeline.context import Pins, RunContext
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.fitted import fitted_model, holdout_labels, holdout_scores
from millrace.pipeline.stages.stage import Outcome
from millrace.pipeline.training_parts import TrainingParts
from millrace.statistics.metrics import measure
from millrace.training.fit import to_log
from millrace.training.types import Candidate

_MODEL = "model"


@dataclass(frozen=True, slots=True)
class BuildTrainingSet:
    """Assemble training set and holdout. `group` is the fingerprint of the whole training; `kept` goes into the output."""

    group: str
    kept: Mapping[str, object] = field(default_factory=dict)

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
        pins = Pins(context.pins.as_of, {**training_parts.made_in(context), **context.pins.versions})
        parts = training_parts.assemble(context.services, context.pipeline, pins, training_parts.doubts_of(context))
        context.scratch[self.name] = parts
        detail = f"{parts.train.record.rows:,} rows to train, {parts.holdout.record.rows:,} to judge; {parts.windows}"
        return Outcome(detail, parts.output() | dict(self.kept))


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
            fitted = fitted_model(context, self.candidate, run)
            metrics = measure(holdout_labels(parts), holdout_scores(context, self.candidate))
        except BaseException:
            tracking.finish(run, failed=True)
            raise
        tracking.log(run, params={**fitted.params, **_shape(parts)}, metrics=metrics)
        tracking.log_text(run, _record(parts), "training_record.json")
        # One that was killed right after this has its model already.
        uri = tracking.logged_model(run, _MODEL) or tracking.log_model(
            run, _MODEL, to_log(fitted, to_json(parts.train.spec), {"candidate": fitted.candidate})
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
            **retraining_tag(context),
        }


def _shape(parts: TrainingParts) -> Mapping[str, object]:
    return {"training_rows": parts.train.record.rows, "windows": str(parts.windows)}


def _record(parts: TrainingParts) -> str:
    import json

    record = parts.train.record
    body = {
        **parts.output(),
        "tables": [str(table) for table in record.tables],
        "code": dict(record.code),
        "code_hash": record.code_hash,
        "spec": json.loads(record.spec),
    }
    return json.dumps(body, indent=2)
