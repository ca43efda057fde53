"""What champion and challenger did in a step, read from the inference tables.

A step is a generation of the endpoint, and each captured request names its generation and its caller, so that what is compared is
exactly what the router has assigned in this step, whatever the clock says.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from millrace.lake.lake import Lake
from millrace.serving.canary.types import CanaryRun
from millrace.serving.canary.verdict import Evidence, Measured
from millrace.serving.inference_tables import CALLER, GENERATION
from millrace.serving.types import Capture
from millrace.statistics.metrics import row_log_loss
from millrace.statistics.randomisation import Groups

if TYPE_CHECKING:
    import pyarrow as pa

_OK = 200
_MOST_REQUESTS = 10_000  # the newest; more would make a verdict slower and hardly surer
_LEAST_PROBABILITY = 1e-6  # as in the monitors: one row must not outweigh all others
_PAYLOAD = ["databricks_request_id", "request_time", "status_code", "served_entity_id", "request_metadata"]
_PREDICTIONS = ["request_id", "prediction", "probability", "actual_label"]


def read_evidence(lake: Lake, capture: Capture, generation: int, run: CanaryRun) -> Evidence:
    """The evidence of the step that a canary is in, as far as it has been drained.

    Args:
        lake: has the inference tables; one that is not there yet is empty.
        capture: where the endpoint's traffic is logged.
        generation: the endpoint's.
        run: the canary.
    """
    canary, tables = run.canary, capture.tables
    in_shadow = run.share == 0
    its_tables = capture.shadow_tables if in_shadow else tables
    requests = _requests(lake, tables, generation, run.since, canary.champion)
    its = _requests(lake, its_tables, generation, run.since, canary.challenger)
    if in_shadow:
        # Callers are copied or not at random, as they are split in the later steps: those that are not stand for the champion.
        requests = requests.filter(_not_among(requests.column("caller"), its.column("caller")))
    requests = _newest([requests, its])
    predictions = _predictions(lake, tables, run.since)
    its_predictions = _predictions(lake, its_tables, run.since) if in_shadow else predictions
    return _evidence(requests, canary.challenger, predictions, its_predictions)


def _requests(lake: Lake, prefix: str, generation: int, since: datetime, entity: str) -> pa.Table:
    """What reached one entity in one generation: id, time, failed, duration_ms, caller, entity."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name = f"{prefix}_payload"
    columns = ["id", "time", "failed", "duration_ms", "caller", "entity"]
    if not lake.exists(name):
        kinds = [pa.string(), pa.timestamp("us", "UTC"), pa.bool_(), pa.float64(), pa.string(), pa.string()]
        return pa.schema(list(zip(columns, kinds, strict=True))).empty_table()
    # Tables from before the microseconds have whole milliseconds.
    column, unit = (
        ("execution_duration_us", 1000.0)
        if "execution_duration_us" in lake.schema(name).names
        else ("execution_duration_ms", 1.0)
    )
    where = (pc.field("request_time") >= pa.scalar(since, pa.timestamp("us", "UTC"))) & (
        pc.field("served_entity_id") == entity
    )
    rows = lake.read(name, columns=[*_PAYLOAD, column], where=where)
    facts = rows.column("request_metadata")
    rows = rows.filter(pc.equal(pc.map_lookup(facts, GENERATION, "first"), str(generation)))
    ids, facts = rows.column("databricks_request_id"), rows.column("request_metadata")
    values = [
        ids,
        rows.column("request_time"),
        pc.not_equal(rows.column("status_code"), _OK),
        pc.divide(rows.column(column).cast(pa.float64()), unit),
        pc.coalesce(pc.map_lookup(facts, CALLER, "first"), ids),
        rows.column("served_entity_id"),
    ]
    return pa.table(dict(zip(columns, values, strict=True)))


def _predictions(lake: Lake, prefix: str, since: datetime) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    name = f"{prefix}_predictions"
    if not lake.exists(name):
        kinds = [pa.string(), pa.float64(), pa.float64(), pa.float64()]
        return pa.schema(list(zip(_PREDICTIONS, kinds, strict=True))).empty_table()
    where = pc.field("timestamp") >= pa.scalar(since, pa.timestamp("us", "UTC"))
    return lake.read(name, columns=_PREDICTIONS, where=where)


def _evidence(requests: pa.Table, challenger: str, predictions: pa.Table, its_predictions: pa.Table) -> Evidence:
    import pyarrow as pa
    import pyarrow.compute as pc

    second = pc.equal(requests.column("entity"), challenger)
    answered = pc.invert(requests.column("failed"))
    parts = [
        rows.join(requests.filter(mine).select(["id", "caller", "entity"]), "request_id", "id", join_type="inner")
        for rows, mine in ((predictions, pc.invert(second)), (its_predictions, second))
    ]
    rows = _under_each_other(parts)
    labelled = rows.filter(pc.is_valid(rows.column("actual_label")))
    losses = _losses(labelled)
    kept = ~np.isnan(losses)
    return Evidence(
        failed=_measured(requests, _numbers(requests.column("failed")), challenger),
        durations=_measured(
            requests.filter(answered), _numbers(requests.filter(answered).column("duration_ms")), challenger
        ),
        predictions=_measured(rows, _scores(rows), challenger),
        losses=_measured(labelled.filter(pa.array(kept)), losses[kept], challenger),
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


def _not_among(column: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.invert(pc.is_in(column, value_set=others.combine_chunks()))


def _newest(parts: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(parts).sort_by([("time", "descending")]).slice(0, _MOST_REQUESTS)
