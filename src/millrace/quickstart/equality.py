"""Did the endpoint see what training would have seen? Every scored row, looked up again offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.features.augment import augment
from millrace.features.matrix import model_frame
from millrace.features.spec import from_json
from millrace.pipeline.declare import Pipeline
from millrace.registry.types import ModelName, ModelVersion
from millrace.training.models import feature_spec_of
from millrace.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def count_differences(workspace: Workspace, pipeline: Pipeline) -> tuple[int, int]:
    """How many logged rows there are, and how many have a feature that differs from the offline lookup, to the last bit."""
    import pyarrow.compute as pc

    log = workspace.lake.read(pipeline.predictions_table)
    rows = differing = 0
    for version in sorted(pc.unique(log.column("model_version")).to_pylist()):
        part = log.filter(pc.equal(log.column("model_version"), version))
        folder = workspace.registry.download(ModelName(pipeline.model_name), ModelVersion(str(version)))
        spec = from_json(feature_spec_of(folder) or "")
        time = pipeline.labels.time
        requests = part.select([*pipeline.labels.keys]).append_column(time, part.column("timestamp"))
        offline = augment(workspace.lake, workspace.asof, spec, requests, as_of=workspace.clock.now())
        differing += _differing(model_frame(part, spec.inputs), model_frame(offline, spec.inputs))
        rows += part.num_rows
    return rows, differing


def _differing(online: pd.DataFrame, offline: pd.DataFrame) -> int:
    equal = (online == offline) | (online.isna() & offline.isna())
    return int((~equal.all(axis=1)).sum())
