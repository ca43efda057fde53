"""What champion and challenger did in a step, as a verdict needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from millrace.lake.lake import Lake
from millrace.serving.canary.types import CanaryRun
from millrace.serving.canary.verdict import Evidence, Measured
from millrace.serving.evidence.step_sample import StepSample
from millrace.serving.types import Capture
from millrace.statistics.metrics import row_log_loss
from millrace.statistics.randomisation import Groups

if TYPE_CHECKING:
    import pyarrow as pa

_ENOUGH = 10_000  # requests of each; more would make a verdict slower and hardly surer
_LEAST_PROBABILITY = 1e-6  # as in the monitors: one row must not outweigh all others


def read_evidence(lake: Lake, capture: Capture, generation: int, run: CanaryRun) -> Evidence:
    """The evidence of the step that a canary is in, as far as it has been drained.

    Of more than a verdict needs a sample is taken, so that the memory for it does not grow with the traffic.

    Args:
        lake: has the inference tables; one that is not there yet is empty.
        capture: where the endpoint's traffic is logged.
        generation: the endpoint's.
        run: the canary.
    """
    settings, challenger = run.canary.settings, run.canary.challenger
    enough = max(_ENOUGH, settings.min_requests, settings.min_labels)
    sample = StepSample(lake, capture, generation, run, enough)
    requests = sample.requests()
    rows, labelled = (_under_each_other(parts) for parts in (sample.predictions(requests), sample.labelled(requests)))
    return _evidence(requests, rows, labelled, challenger, enough)


def _evidence(requests: pa.Table, rows: pa.Table, labelled: pa.Table, challenger: str, enough: int) -> Evidence:
    import pyarrow as pa
    import pyarrow.compute as pc

    answered = requests.filter(pc.invert(requests.column("failed")))
    failed = _measured(requests, _numbers(requests.column("failed")), challenger)
    losses = _losses(labelled)
    kept = ~np.isnan(losses)
    return Evidence(
        failed=failed,
        durations=_measured(answered, _numbers(answered.column("duration_ms")), challenger),
        predictions=_measured(rows, _scores(rows), challenger),
        losses=_measured(labelled.filter(pa.array(kept)), losses[kept], challenger),
        sampled=enough if max(failed.counts()) == enough else None,
    )


def _under_each_other(parts: list[pa.Table]) -> pa.Table:
    """As one table; where one of the models says numbers and the other texts, all are texts."""
    import pyarrow as pa

    for name in ("prediction", "actual_label"):
        if any(pa.types.is_string(part.schema.field(name).type) for part in parts):
            place = parts[0].schema.get_field_index(name)
            parts = [part.set_column(place, name, part.column(name).cast(pa.string())) for part in parts]
    return pa.concat_tables(parts, promote_options="permissive")


def _measured(rows: pa.Table, values: npt.NDArray[np.float64] | npt.NDArray[np.str_], challenger: str) -> Measured:
    callers = np.asarray(rows.column("caller").to_pylist(), dtype=np.str_)
    second = np.asarray([entity == challenger for entity in rows.column("entity").to_pylist()], dtype=np.bool_)
    return Measured(values, Groups.of(callers, second))


def _scores(rows: pa.Table) -> npt.NDArray[np.float64] | npt.NDArray[np.str_]:
    """The probability, else the prediction, of each row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.all(pc.is_valid(rows.column("probability")), min_count=1).as_py():
        return _numbers(rows.column("probability"))
    said = rows.column("prediction")
    if pa.types.is_string(said.type):
        return np.asarray(pc.fill_null(said, "").to_pylist(), dtype=np.str_)
    return _numbers(said)


def _losses(rows: pa.Table) -> npt.NDArray[np.float64]:
    """The loss of each row with a label: of texts 1 where the prediction is another, else 0; NaN where there is no prediction."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if any(pa.types.is_string(rows.schema.field(name).type) for name in ("prediction", "actual_label")):
        said, true = (rows.column(name).cast(pa.string()) for name in ("prediction", "actual_label"))
        return _numbers(pc.not_equal(said, true))
    labels, chances = _numbers(rows.column("actual_label")), _numbers(rows.column("probability"))
    squared = (_numbers(rows.column("prediction")) - labels) ** 2
    chance_known = ~np.isnan(chances) & np.isin(labels, (0.0, 1.0))
    kept = np.clip(np.where(chance_known, chances, 0.5), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.where(chance_known, row_log_loss(labels, kept), squared)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """The values as floats, NaN where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    floats = pc.fill_null(column.cast(pa.float64()), float("nan"))
    return np.asarray(floats.to_numpy(), dtype=np.float64)
