"""The smoke test: does the endpoint answer what the model answers offline?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.features.augment import augment
from millrace.features.matrix import model_frame
from millrace.features.types import FeatureSpec
from millrace.pipeline import training_parts
from millrace.pipeline.context import RunContext
from millrace.registry.types import ModelName, ModelVersion
from millrace.targets.port import DeploymentTarget
from millrace.training.models import load_native, predict_proba

if TYPE_CHECKING:
    import pyarrow as pa

# Served in another library call than offline (a row at a time, no frame), so equal up to float32 arithmetic.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """How many rows were asked and how many answers differed; `example` shows the first that did."""

    rows: int
    differing: int
    example: str
    largest_difference: float

    def output(self) -> dict[str, object]:
        """For the run's record."""
        return {"rows": self.rows, "differing": self.differing, "largest_difference": self.largest_difference}


def smoke_test(context: RunContext, target: DeploymentTarget, version: ModelVersion) -> SmokeResult:
    """Ask the staging endpoint about holdout customers, by key only, and compare with the lookup and model offline.

    Raises:
        InvalidInput: the holdout has no rows to ask about.
    """
    spec, requests = _requests(context)
    folder = context.services.registry.download(ModelName(context.pipeline.model_name), version)
    services = context.services
    rows = augment(services.lake, services.asof, spec, requests, as_of=services.clock.now())
    expected = predict_proba(load_native(folder), model_frame(rows, spec.inputs))
    asked = [*(key for lookup in spec.lookups for key in lookup.keys), *spec.request_columns]
    records = requests.select(list(dict.fromkeys(asked))).to_pylist()
    answers = target.query(context.pipeline.staging_endpoint, [_wire(record) for record in records])
    got = answers.probabilities or tuple(float("nan") for _ in records)
    return _compare(records, expected.tolist(), got)


def _compare(records: Sequence[Mapping[str, object]], expected: Sequence[float], got: Sequence[float]) -> SmokeResult:
    gaps = [abs(a - b) if a == a and b == b else float("inf") for a, b in zip(expected, got, strict=True)]  # noqa: PLR0124 - NaN
    wrong = [index for index, gap in enumerate(gaps) if gap > TOLERANCE]
    example = f"{records[wrong[0]]} gave {got[wrong[0]]}, not {expected[wrong[0]]}" if wrong else ""
    return SmokeResult(len(records), len(wrong), example, max(gaps, default=0.0))


def _requests(context: RunContext) -> tuple[FeatureSpec, pa.Table]:
    """Some holdout rows, evenly spread, asked about as of now."""
    import numpy as np
    import pyarrow as pa

    holdout, label = training_parts.of_run(context).holdout, context.pipeline.labels
    rows = holdout.table
    if rows.num_rows == 0:
        raise InvalidInput("the holdout is empty", hint="lengthen split.holdout")
    some = np.unique(np.linspace(0, rows.num_rows - 1, context.pipeline.deployment.smoke_rows).astype(int))
    columns = list(dict.fromkeys([*label.keys, label.time, *holdout.spec.request_columns]))
    picked = rows.select(columns).take(some)
    now = pa.array([epoch_us(context.services.clock.now())] * picked.num_rows, pa.int64()).cast(
        pa.timestamp("us", "UTC")
    )
    return holdout.spec, picked.set_column(columns.index(label.time), label.time, now)


def _wire(record: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value if isinstance(value, int | float | str | bool | None) else str(value)
        for name, value in record.items()
    }
