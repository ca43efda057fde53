"""What the monitor would have said of a model: production's own judges, over counts of the requests since it was promoted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from millrace.core.clock import epoch_us
from millrace.features.matrix import model_frame
from millrace.monitoring.counts.count import count_version
from millrace.monitoring.judge import judge
from millrace.monitoring.types import WindowVerdict
from millrace.monitoring.windows import Granularity
from millrace.pipeline.backtest.trained import Trained
from millrace.pipeline.backtest.types import Scene
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.stages.watch import monitor_spec

if TYPE_CHECKING:
    import pyarrow as pa

_CUT = 0.5
_OF_LABELS = "performance"


@dataclass(frozen=True, slots=True)
class Known:
    """A verdict, and when it could be known: at the end of its window, and where it is about labels, when they were known."""

    at: datetime
    verdict: WindowVerdict


def watch(pipeline: Pipeline, scene: Scene, trained: Trained, end: datetime) -> Sequence[Known]:
    """All verdicts on a model from its promotion to the end, by when they could be known.

    A verdict is of its window and those before it, so that it does not matter that later ones are judged in the same pass. Labels
    are known `known_after` their time; a window's verdict on them comes when its last ones are.
    """
    if pipeline.monitor is None:
        return []
    spec = monitor_spec(pipeline)
    rows = np.flatnonzero(scene.times_us >= epoch_us(trained.model.at))
    if not len(rows):
        return []
    log = _log(pipeline, scene, trained, rows)
    numbers, version = Granularity.parse(spec.granularity).numbers(scene.times_us[rows]), f"{trained.model.at:%Y-%m-%d}"
    # Labels come later: what is said without them is said of windows that have none.
    unlabelled, labelled = (
        judge(spec, version, trained.reference, count_version(part, numbers, spec, trained.reference), until=end)
        for part in (log.drop_columns([spec.label_col]), log)
    )
    verdicts = [one for one in unlabelled if one.kind != _OF_LABELS] + [
        one for one in labelled if one.kind == _OF_LABELS
    ]
    late = pipeline.labels.known_after
    known = [Known(one.end + late if one.kind == _OF_LABELS else one.end, one) for one in verdicts]
    return sorted(
        (one for one in known if one.at <= end), key=lambda one: (one.at, one.verdict.start, one.verdict.kind)
    )


def _log(pipeline: Pipeline, scene: Scene, trained: Trained, rows: np.ndarray) -> pa.Table:
    """The inference log that production would have: features as the model sees them, answers, and labels, which come late."""
    import pyarrow as pa

    spec, scores = monitor_spec(pipeline), trained.scores[rows]
    taken = scene.features.take(pa.array(rows))
    frame = model_frame(taken, taken.column_names)
    log = pa.Table.from_pandas(frame, preserve_index=False)
    labels = scene.labels[rows]
    answers = {
        spec.timestamp_col: pa.array(scene.times_us[rows]).cast(pa.timestamp("us", "UTC")),
        spec.proba_col: pa.array(scores),
        spec.prediction_col: pa.array((scores > _CUT).astype(np.float64)),
        spec.label_col: pa.array(labels, mask=np.isnan(labels)),
    }
    for name, values in answers.items():
        log = log.append_column(name, values)
    return log
