"""The smoke test: does the endpoint answer what the model answers offline?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.features.augment import augment
from millrace.features.matrix import model_frame
from millrace.features.types import FeatureSpec
from millrace.pipeline import training_parts
from millrace.pipeline.context import RunContext
from millrace.pipeline.port import Services
from millrace.registry.types import ModelName, ModelVersion
from millrace.targets.port import DeploymentTarget
from millrace.targets.types import Answers
from millrace.training.models import load_native, predict_proba
from millrace.validation.types import Served

if TYPE_CHECKING:
    import pyarrow as pa

# Served in another library call than offline (a row at a time, no frame), so equal up to float32 arithmetic.
TOLERANCE = 1e-6
_LONGEST_MS = 5000.0


def smoke_test(context: RunContext, target: DeploymentTarget, version: ModelVersion) -> Served:
    """Ask the staging endpoint about holdout customers, by key only, and compare with the lookup and model offline.

    Raises:
        InvalidInput: the holdout has no rows to ask about.
    """
    spec, requests = _requests(context)
    pipeline = context.pipeline
    folder = context.services.registry.download(ModelName(pipeline.model_name), version)
    ask = partial(target.query, pipeline.staging_endpoint)
    compared = compare_answers(context.services, ask, spec, requests, pipeline.labels.time, load_native(folder))
    return replace(compared, size_bytes=_size(folder))


def compare_answers(  # noqa: PLR0917 - the world first, then whom to ask about what
    services: Services,
    ask: Callable[[Sequence[Mapping[str, object]]], Answers],
    spec: FeatureSpec,
    requests: pa.Table,
    time: str,
    model: object,
) -> Served:
    """Ask an endpoint about rows of keys and request columns, and compare with the lookup and the model here.

    Args:
        services: where the features are.
        ask: asks the endpoint.
        spec: the model's.
        requests: whom to ask about; `time` is among its columns.
        time: the column with the time of the question, which is set to now.
        model: the native model, loaded here.
    """
    before = _offline(services, spec, requests, time, model)
    records = requests.select(_asked(spec)).to_pylist()
    answers = ask([_wire(record) for record in records])
    got = answers.probabilities or tuple(float("nan") for _ in records)
    # A function of the time of the question has moved on a little meanwhile: the answer lies between then and now.
    after = _offline(services, spec, requests, time, model) if _reads_time(spec) else before
    return _compare(records, list(zip(before, after, strict=True)), got)


def timed(context: RunContext, target: DeploymentTarget, requests: int) -> tuple[float, ...]:
    """Milliseconds that the staging endpoint takes for requests of one row, as the client waits for them; fewer where they take long."""
    spec, rows = _requests(context)
    records = rows.select(_asked(spec)).to_pylist()
    times: list[float] = []
    for record in islice(cycle(records), requests):
        asked_at_s = time.perf_counter()
        answer = target.query(context.pipeline.staging_endpoint, [_wire(record)])
        waited_ms = (time.perf_counter() - asked_at_s) * 1000
        times.append(answer.figures.get("round_trip_ms", waited_ms))
        if sum(times) > _LONGEST_MS:
            break
    return tuple(times)


def _asked(spec: FeatureSpec) -> list[str]:
    """What a request has to bring."""
    return list(dict.fromkeys([*(key for lookup in spec.lookups for key in lookup.keys), *spec.request_columns]))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _offline(services: Services, spec: FeatureSpec, requests: pa.Table, time: str, model: object) -> Sequence[float]:
    now = services.clock.now()
    rows = augment(services.lake, services.asof, spec, _at(requests, time, now), as_of=now)
    return [float(chance) for chance in predict_proba(model, model_frame(rows, spec.inputs))]


def _reads_time(spec: FeatureSpec) -> bool:
    times = {lookup.timestamp_lookup_key for lookup in spec.lookups}
    return any(column in times for function in spec.functions for column in function.bindings.values())


def _compare(
    records: Sequence[Mapping[str, object]], expected: Sequence[tuple[float, float]], got: Sequence[float]
) -> Served:
    gaps = [_gap(answer, *bounds) for answer, bounds in zip(got, expected, strict=True)]
    wrong = [index for index, gap in enumerate(gaps) if gap > TOLERANCE]
    example = f"{records[wrong[0]]} gave {got[wrong[0]]}, not {expected[wrong[0]][0]}" if wrong else ""
    return Served(len(records), len(wrong), max(gaps, default=0.0), example)


def _gap(answer: float, one: float, other: float) -> float:
    """How far the answer is outside of the two; infinite where a value is NaN."""
    if any(value != value for value in (answer, one, other)):  # noqa: PLR0124 - NaN
        return float("inf")
    return max(min(one, other) - answer, answer - max(one, other), 0.0)


def _requests(context: RunContext) -> tuple[FeatureSpec, pa.Table]:
    """Some holdout rows, evenly spread."""
    import numpy as np

    holdout, label = training_parts.of_run(context).holdout, context.pipeline.labels
    rows = holdout.table
    if rows.num_rows == 0:
        raise InvalidInput("the holdout is empty", hint="lengthen split.holdout")
    some = np.unique(np.linspace(0, rows.num_rows - 1, context.pipeline.deployment.smoke_rows).astype(int))
    columns = list(dict.fromkeys([*label.keys, label.time, *holdout.spec.request_columns]))
    return holdout.spec, rows.select(columns).take(some)


def _at(requests: pa.Table, column: str, moment: datetime) -> pa.Table:
    """The requests, asked about as of a time."""
    import pyarrow as pa

    times = pa.array([epoch_us(moment)] * requests.num_rows, pa.int64()).cast(pa.timestamp("us", "UTC"))
    return requests.set_column(requests.column_names.index(column), column, times)


def _wire(record: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value if isinstance(value, int | float | str | bool | None) else str(value)
        for name, value in record.items()
    }
