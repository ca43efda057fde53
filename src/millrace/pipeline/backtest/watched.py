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
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.windows import Granularity
from millrace.pipeline.backtest.trained import Trained
from millrace.pipeline.backtest.types import Scene
from millrace.pipeline.declare import Pipeline

if TYPE_CHECKING:
    import pyarrow as pa

_CUT = 0.5
_OF_LABELS, _MADE_UP = "performance", "volume"


@dataclass(frozen=True, slots=True)
class Known:
    """A verdict, and when it could be known: at the end of its window, and where it is about labels, when they were known."""

    at: datetime
    verdict: WindowVerdict


def watch(pipeline: Pipeline, scene: Scene, trained: Trained, end: datetime) -> Sequence[Known]:
    """All verdicts on a model from its promotion to the end, by when they could be known.

    A verdict is of its window and those before it, so that it does not matter that later ones are judged in the same pass. Labels
    are known `known_after` their time: what is said without them is said of windows that have none, and a window's verdict on
    them comes when its last ones are. How many ask is made up, so nothing is said of the volume.
    """
    rows = np.flatnonzero(scene.times_us >= epoch_us(trained.model.at))
    if pipeline.monitor is None or not len(rows):
        return []
    spec, version, late = pipeline.monitor_spec, f"{trained.model.at:%Y-%m-%d}", pipeline.labels.known_after
    log = _log(spec, scene, trained, rows)
    granularity = Granularity.parse(spec.granularity)
    numbers = granularity.numbers(scene.times_us[rows])
    counted = [
        count_version(part, numbers, spec, trained.reference) for part in (log.drop_columns([spec.label_col]), log)
    ]
    # The estimate is made without labels, and held against those only that were known at its window's end.
    blind, held = (
        judge(
            spec,
            version,
            trained.reference,
            part,
            until=end,
            labelled=counted[1],
            labels_after=-(-late // granularity.length),
        )
        for part in counted
    )
    known = [Known(one.end, one) for one in blind if one.kind not in {_OF_LABELS, _MADE_UP}]
    known += [Known(one.end + late, one) for one in held if one.kind == _OF_LABELS]
    return sorted((one for one in known if one.at <= end), key=_order)


def _log(spec: MonitorSpec, scene: Scene, trained: Trained, rows: np.ndarray) -> pa.Table:
    """The inference log that production would have: features as the model sees them, answers, and labels, which come late."""
    import pyarrow as pa

    scores, labels = trained.scores[rows], scene.labels[rows]
    taken = scene.features.take(pa.array(rows))
    log = pa.Table.from_pandas(model_frame(taken, taken.column_names), preserve_index=False)
    answers = {
        spec.timestamp_col: pa.array(scene.times_us[rows]).cast(pa.timestamp("us", "UTC")),
        spec.proba_col: pa.array(scores),
        spec.prediction_col: pa.array((scores > _CUT).astype(np.float64)),
        spec.label_col: pa.array(labels, mask=np.isnan(labels)),
    }
    for name, values in answers.items():
        log = log.append_column(name, values)
    return log


def _order(one: Known) -> tuple[datetime, datetime, str]:
    return one.at, one.verdict.start, one.verdict.kind
