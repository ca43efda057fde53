"""The version in production, asked about the rows that judge its challenger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from millrace.core.clock import parse_time, utc
from millrace.features.augment import augment
from millrace.features.matrix import model_frame
from millrace.features.spec import from_json
from millrace.pipeline.context import RunContext
from millrace.pipeline.training_parts import TrainingParts
from millrace.registry.types import ModelName, VersionEntry
from millrace.training.models import feature_spec_of, load_native, predict_proba

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

TRAINED_TO = "millrace.trained_to"  # version tag: the newest label time that the version was trained on


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in production and what it says of the newest labelled rows.

    Attributes:
        has_seen_holdout: whether it was trained on labels of that window, which makes it harder to beat, not easier.
    """

    version: VersionEntry
    scores: npt.NDArray[np.float64]
    has_seen_holdout: bool

    @property
    def label(self) -> str:
        """For reasons: `ml.models.churn v3`."""
        return f"{self.version.model} v{self.version.version}"


def champion_on(context: RunContext, parts: TrainingParts) -> Champion | None:
    """The champion's probabilities on the newest labelled rows, by its own lookups over the same pinned tables; None where there is none."""
    services, label = context.services, context.pipeline.labels
    version = services.registry.by_alias(ModelName(context.pipeline.model_name), "production")
    if version is None:
        return None
    folder = services.registry.download(version.model, version.version)
    spec = from_json(feature_spec_of(folder) or parts.holdout.record.spec)
    holdout = parts.newest.table
    asked = [name for name in spec.request_columns if name in holdout.column_names]
    requests = holdout.select(list(dict.fromkeys([*label.keys, label.time, *asked])))
    rows = augment(services.lake, services.asof, spec, requests, as_of=context.pins.as_of, versions=parts.versions)
    scores = predict_proba(load_native(folder), model_frame(rows, spec.inputs))
    return Champion(version, scores, _has_seen(version, holdout, label.time))


def _has_seen(version: VersionEntry, rows: pa.Table, time: str) -> bool:
    import pyarrow.compute as pc

    trained_to = version.tags.get(TRAINED_TO)
    return trained_to is not None and parse_time(trained_to) >= utc(pc.min(rows.column(time)).as_py())
