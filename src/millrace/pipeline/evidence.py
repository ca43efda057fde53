"""What the gates look at: the holdout with all models' answers, the slices, and what the model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from millrace.core.clock import utc
from millrace.features.matrix import is_model_type, model_column
from millrace.features.training_set import TrainingSet
from millrace.pipeline import training_parts
from millrace.pipeline.champion import Champion
from millrace.pipeline.context import RunContext
from millrace.pipeline.fitted import Contest, newest_labels, newest_scores, shares_of
from millrace.pipeline.training_parts import TrainingParts
from millrace.training.candidates import Linear
from millrace.training.fit import fit
from millrace.training.labels import binary_labels
from millrace.training.models import predict_proba
from millrace.training.types import Candidate
from millrace.validation.types import Columns, Evidence, TrainingFacts

if TYPE_CHECKING:
    import pyarrow as pa

_LINEAR_ROWS = 50_000  # enough for a line to be what it is


def evidence_of(context: RunContext, held: Contest, champion: Champion | None = None) -> Evidence:
    """All that the gates may ask about the winner."""
    parts = training_parts.of_run(context)
    return Evidence(
        labels=held.labels,
        challenger=held.scores[held.winner],
        baselines=_baselines(context, held, parts),
        seed=context.pipeline.seed,
        newest=_newest(context, held.winner, champion),
        linear=_linear(context, held, parts),
        groups=_groups(context, parts.holdout.table),
        columns=_columns(context, parts.holdout),
        training=_training(context, held, parts),
    )


def _newest(context: RunContext, winner: str, champion: Champion | None) -> Evidence:
    """Challenger and champion on the newest labelled rows."""
    import pyarrow.compute as pc

    parts, pipeline = training_parts.of_run(context), context.pipeline
    times = parts.newest.table.column(pipeline.labels.time)
    return Evidence(
        labels=newest_labels(parts),
        challenger=newest_scores(context, pipeline.candidate(winner)),
        baselines={},
        champion=champion.scores if champion else None,
        champion_name=champion.label if champion else "",
        seed=pipeline.seed,
        champion_has_seen=champion.has_seen_holdout if champion else False,
        window=f"{pc.min(times).as_py():%Y-%m-%d} to {pc.max(times).as_py():%Y-%m-%d}",
        groups=_groups(context, parts.newest.table),
    )


def _baselines(context: RunContext, held: Contest, parts: TrainingParts) -> Mapping[str, np.ndarray]:
    """The pipeline's own, and a dummy where it has none: the share of positives for everybody."""
    named = [each for each in context.pipeline.candidates if each.is_baseline]
    found: dict[str, np.ndarray] = {each.name: held.scores[each.name] for each in named}
    if not any(each.complexity == 0 for each in named):
        label = parts.train.spec.label
        share = float(binary_labels(parts.train.table, str(label)).mean())
        found["a dummy"] = np.full(len(held.labels), share)
    return found


def _linear(context: RunContext, held: Contest, parts: TrainingParts) -> np.ndarray | None:
    """What a linear model says: the pipeline's, or one that is trained here; None where the winner is as simple itself."""
    candidates, winner = context.pipeline.candidates, context.pipeline.candidate(held.winner)
    if winner.complexity <= 1:
        return None
    named: Candidate | None = next((each for each in candidates if isinstance(each, Linear)), None)
    if named is not None:
        return held.scores[named.name]
    settings = context.services.settings
    model = fit(
        Linear(), _some(parts.train, context.pipeline.seed), seed=context.pipeline.seed, threads=settings.threads
    )
    return predict_proba(model.model, parts.holdout.features())


def _some(rows: TrainingSet, seed: int) -> TrainingSet:
    if rows.record.rows <= _LINEAR_ROWS:
        return rows
    chosen = np.random.default_rng(seed).choice(rows.record.rows, _LINEAR_ROWS, replace=False)
    mask = np.zeros(rows.record.rows, dtype=bool)
    mask[chosen] = True
    return rows.where(mask)


def _groups(context: RunContext, rows: pa.Table) -> np.ndarray | None:
    """A code for each row's key: rows of one customer are drawn together. None where each has one row."""
    codes = np.zeros(rows.num_rows, dtype=np.int64)
    for key in context.pipeline.labels.keys:
        encoded = rows.column(key).combine_chunks().dictionary_encode()
        own = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        _, codes = np.unique(codes * (len(encoded.dictionary) + 1) + own, return_inverse=True)
    groups = int(codes.max(initial=-1)) + 1
    return None if groups == rows.num_rows else codes


def _columns(context: RunContext, rows: TrainingSet) -> Columns:
    """The model's inputs, and what was looked up but is not shown to it: slices may be of both."""
    hidden = [
        name
        for name in context.pipeline.exclude
        if name in rows.table.column_names and is_model_type(rows.table.schema.field(name).type)
    ]
    frame = rows.features()
    return {
        **{str(name): frame[name].to_numpy() for name in frame.columns},
        **{name: model_column(rows.table, name) for name in hidden},
    }


def _training(context: RunContext, held: Contest, parts: TrainingParts) -> TrainingFacts:
    frame = parts.train.features()
    winner = context.pipeline.candidate(held.winner)
    return TrainingFacts(
        columns={str(name): frame[name].to_numpy() for name in frame.columns},
        labels=binary_labels(parts.train.table, str(parts.train.spec.label)),
        shared_rows=_shared_rows(context, parts),
        late=_late(context, parts),
        importances=lambda: shares_of(context, winner),
    )


def _shared_rows(context: RunContext, parts: TrainingParts) -> int:
    """How many rows of the holdout are trained on, by key and time."""
    import pyarrow.compute as pc

    label = context.pipeline.labels
    train, holdout = parts.train.table, parts.holdout.table
    if not train.num_rows or not holdout.num_rows:
        return 0
    if utc(pc.max(train.column(label.time)).as_py()) < utc(pc.min(holdout.column(label.time)).as_py()):
        return 0
    identity = [*label.keys, label.time]
    shared = holdout.select(identity).join(train.select(identity), identity, join_type="left semi")
    return int(shared.num_rows)


def _late(context: RunContext, parts: TrainingParts) -> Mapping[str, int]:
    """Time series that are looked up without a time: to how many training rows they gave a value from after the row's time."""
    lake, found = context.services.lake, {}
    for lookup in context.pipeline.all_lookups:
        time = lake.entry(lookup.table_name).definition.timeseries_column
        if lookup.timestamp_lookup_key is None and time is not None:
            found[lookup.table_name] = _late_rows(context, parts, lookup.table_name, lookup.keys)
    return found


def _late_rows(context: RunContext, parts: TrainingParts, name: str, keys: tuple[str, ...]) -> int:
    import pyarrow.compute as pc

    lake, label = context.services.lake, context.pipeline.labels
    definition = lake.entry(name).definition
    own, time = definition.primary_keys, str(definition.timeseries_column)
    version = parts.versions[lake.pin(name, None, parts.versions).name]
    newest = lake.read(name, version, [*own, time]).group_by(list(own)).aggregate([(time, "max")])
    renamed = newest.rename_columns([*keys, "__newest"])
    rows = parts.train.table.select(list(dict.fromkeys([*keys, label.time])))
    joined = rows.join(renamed, list(keys), join_type="inner")
    newest_at = joined.column("__newest").cast(joined.schema.field(label.time).type)
    return int(pc.sum(pc.greater(newest_at, joined.column(label.time))).as_py() or 0)
