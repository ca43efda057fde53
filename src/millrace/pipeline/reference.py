"""The reference that a version's traffic is compared with: what it was trained and judged on."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from millrace.features.matrix import model_frame
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.pipeline import training_parts
from millrace.pipeline.context import RunContext
from millrace.pipeline.fitted import holdout_scores, shares_of
from millrace.pipeline.port import Services
from millrace.tracking.types import RunId

REFERENCE = "reference_profile.json"  # kept with the training run


def reference_profile(context: RunContext, candidate: str) -> ReferenceProfile:
    """Training and holdout rows together, with the model's answers on the holdout, which it was not trained on."""
    import numpy as np
    import pyarrow as pa

    parts = training_parts.of_run(context)
    chosen = context.pipeline.candidate(candidate)
    scores, label = holdout_scores(context, chosen), context.pipeline.labels
    rows = pa.concat_tables([parts.train.table, parts.holdout.table])
    unseen = np.concatenate([np.full(parts.train.table.num_rows, np.nan), scores])
    answers = np.concatenate([np.full(parts.train.table.num_rows, np.nan), (scores > 0.5).astype(float)])  # noqa: PLR2004
    profile = ReferenceProfile.build(
        pa.Table.from_pandas(model_frame(rows, parts.train.spec.inputs), preserve_index=False),
        pa.array(unseen, from_pandas=True),
        rows.column(label.column).combine_chunks(),
        predictions=pa.array(answers, from_pandas=True),
        timestamps=rows.column(label.time).combine_chunks(),
    )
    return replace(profile, importances=shares_of(context, chosen))


def reference_of(services: Services, run_id: str) -> ReferenceProfile:
    """The reference that was kept with a training run. Raises NotFound where none was."""
    return _parsed(services.tracking.read_text(RunId(run_id), REFERENCE))


@lru_cache(maxsize=16)
def _parsed(text: str) -> ReferenceProfile:
    return ReferenceProfile.from_json(text)
