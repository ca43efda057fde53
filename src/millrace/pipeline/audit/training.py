"""The training set, built again while feature rows of the future change; and its columns against the label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.core.clock import epoch_us, from_epoch_us, iso
from millrace.core.names import TableName
from millrace.features.tables import create_feature_table
from millrace.features.training_set import TrainingSet, build_training_set
from millrace.pipeline.audit.alter import Change, changed
from millrace.pipeline.audit.compare import Difference, compare
from millrace.pipeline.audit.findings import Finding
from millrace.pipeline.audit.job import Answer, Job
from millrace.pipeline.audit.likeness import label_likeness
from millrace.pipeline.audit.rules import TableRule, find_rules, table_lookups
from millrace.pipeline.declare import FeatureTable, LabelTable, Pipeline
from millrace.pipeline.grid import last_tick
from millrace.pipeline.labels import read_known
from millrace.pipeline.port import Services

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_ROWS = 200_000
_ROW = "row"


def audit_training_set(services: Services, pipeline: Pipeline, job: Job, earlier: Answer) -> list[Finding]:
    """Findings about lookups and label likeness, in a scratch home whose own tables become the rows of an earlier answer.

    Raises:
        InvalidInput: the training set can't be built.
    """
    _store(services, pipeline, earlier)
    requests = label_rows(services, pipeline, job.features)
    if not len(requests):
        return [
            Finding("lookups", "warning", pipeline.labels.name, "no label row is known, so no training set was audited")
        ]
    trainer = _Trainer(services, pipeline, services.clock.now())
    whole = trainer.build(requests, {})
    findings = label_likeness(whole.table, whole.spec.inputs, pipeline.labels.column, job.thresholds)
    return [*findings, *_blindness(trainer, requests, whole)]


def label_rows(services: Services, pipeline: Pipeline, times: Sequence[datetime]) -> pa.Table:
    """Label rows that are known now, as training sets take them: at most 200,000, evenly thinned.

    Where others fill the label table and the pipeline computes features, those that fall into a grid step after one of `times`.
    """
    import numpy as np
    import pyarrow as pa

    label = pipeline.labels
    rows = read_known(services, label, services.lake.pin(label.name), services.clock.now())
    if pipeline.features and not isinstance(pipeline.label, LabelTable):
        at = rows.column(label.time).cast(pa.int64()).to_numpy()
        every = min(table.every for table in pipeline.features)
        steps = [(epoch_us(time), epoch_us(time + every)) for time in times]
        near = [(at >= start) & (at < end) for start, end in steps]
        rows = rows.filter(pa.array(np.any(near, axis=0) if near else np.zeros(len(at), dtype=bool)))
    if len(rows) > _MOST_ROWS:
        rows = rows.take(pa.array(np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(np.int64)))
    return rows


def spread(rows: pa.Table, column: str, count: int) -> list[datetime]:
    """At most `count` of the times in a column, evenly spread over its rows, in order."""
    import pyarrow as pa

    times = sorted(value for value in rows.column(column).cast(pa.int64()).to_pylist() if value is not None)
    picked = {times[len(times) * n // (count + 1)] for n in range(1, count + 1)} if times else set()
    return [from_epoch_us(time) for time in sorted(picked)]


def feature_times(pipeline: Pipeline, labels: Sequence[datetime]) -> list[datetime]:
    """The newest time on the features' grid at or before each label time."""
    if not pipeline.features:
        return list(labels)
    table = pipeline.features[0]
    return sorted({last_tick(time, table.every, table.start) for time in labels})


@dataclass(frozen=True, slots=True)
class _Trainer:
    services: Services
    pipeline: Pipeline
    as_of: datetime

    def build(self, requests: pa.Table, versions: Mapping[TableName, int]) -> TrainingSet:
        label = self.pipeline.labels
        return build_training_set(
            self.services.lake,
            self.services.asof,
            requests,
            self.pipeline.all_lookups,
            label.column,
            exclude=(*label.keys, label.time, *self.pipeline.exclude),
            as_of=self.as_of,
            versions=versions,
        )


def _store(services: Services, pipeline: Pipeline, earlier: Answer) -> None:
    import pyarrow as pa

    own: list[FeatureTable | LabelTable] = list(pipeline.features)
    own += [pipeline.label] if isinstance(pipeline.label, LabelTable) else []
    for table in own:
        parts = [rows for (name, _), rows in earlier.snapshots.items() if name == table.name]
        rows = pa.concat_tables(parts, promote_options="permissive")
        if services.lake.exists(table.name):
            services.lake.drop(table.name)
        create_feature_table(
            services.lake,
            table.name,
            rows.schema,
            primary_keys=table.keys,
            timeseries_column=table.time,
            role="labels" if isinstance(table, LabelTable) else "features",
        )
        services.lake.append(table.name, rows)


def _blindness(trainer: _Trainer, requests: pa.Table, whole: TrainingSet) -> list[Finding]:
    """Each looked-up table changed after each time, or as a whole where it has no time: do rows up to the time change?"""
    label, lookups = trainer.pipeline.labels, table_lookups(trainer.pipeline)
    asked = {TableName.parse(lookup.table_name) for lookup in lookups}
    found: list[Finding] = []
    rules = [
        rule for rule in find_rules(trainer.services.lake, trainer.pipeline) if TableName.parse(rule.name) in asked
    ]
    for rule in rules:
        for time, change in _changes(rule, spread(requests, label.time, 3)):
            difference = _rebuilt(trainer, rule, requests, whole, time, change)
            if difference:
                found.append(_leak(trainer.pipeline, rule, change, time, difference))
                break
    if found:
        return found
    names = ", ".join(rule.name for rule in rules)
    fact = f"{len(whole.table):,} training rows stay the same when later rows of {names} are removed or altered"
    return [Finding("lookups", "ok", label.name, fact)] if rules else []


def _changes(rule: TableRule, times: Sequence[datetime]) -> Iterator[tuple[datetime | None, Change]]:
    if not rule.is_timed:
        yield None, "whole"
        return
    for time in times:
        yield time, "removed"
        yield time, "altered"


def _rebuilt(
    trainer: _Trainer, rule: TableRule, requests: pa.Table, whole: TrainingSet, time: datetime | None, change: Change
) -> Difference:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lake, label = trainer.services.lake, trainer.pipeline.labels
    name = TableName.parse(rule.name)
    before = lake.pin(name).version
    rows = lake.read(name, before)
    version = lake.overwrite(name, changed(rows, rule, change, time), why=f"audit: {change}").version
    if time is None:
        mask = pa.array(np.ones(len(requests), dtype=bool))
    else:
        mask = pc.less_equal(requests.column(label.time).cast(pa.int64()), epoch_us(time))
    again = trainer.build(requests.filter(mask), {name: int(version)}).table
    lake.overwrite(name, rows, why="audit: as before")
    first = whole.table.filter(mask)
    numbers = pa.array(np.arange(len(first)))
    keys = (*label.keys, label.time, _ROW)
    return compare(first.append_column(_ROW, numbers), again.append_column(_ROW, numbers), keys)


def _leak(
    pipeline: Pipeline, rule: TableRule, change: Change, time: datetime | None, difference: Difference
) -> Finding:
    evidence: dict[str, object] = {
        "columns": dict(difference.columns),
        "rows": difference.keys,
        "example": dict(difference.example),
    }
    column = next(iter(difference.columns), None)
    if not rule.is_timed:
        return Finding(
            "lookups",
            "leak",
            rule.name,
            f"{rule.name} has no timeseries column: training rows of any time get its values of today: {difference}",
            "give it a timeseries column and keep its snapshots, or take the risk with --accept " + rule.name,
            column=column,
            evidence=evidence,
        )
    without = [
        lookup for lookup in table_lookups(pipeline) if _is(lookup, rule) and lookup.timestamp_lookup_key is None
    ]
    if without:
        return Finding(
            "lookups",
            "leak",
            rule.name,
            f"{rule.name} is looked up without a time: training rows get its newest values, whatever their time: {difference}",
            f"add timestamp_lookup_key='{pipeline.labels.time}' to the lookup",
            as_of=time,
            column=column,
            evidence=evidence,
        )
    at = iso(time) if time else ""
    return Finding(
        "lookups",
        "leak",
        rule.name,
        f"training rows up to {at} change when rows of {rule.name} after it are {change}: {difference}",
        "this is a bug in millrace: please report it",
        as_of=time,
        column=column,
        evidence=evidence,
    )


def _is(lookup: object, rule: TableRule) -> bool:
    return TableName.parse(str(getattr(lookup, "table_name", ""))) == TableName.parse(rule.name)
