"""The training set, built again while feature rows of the future change; and its columns against the label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.core.clock import epoch_us, iso
from millrace.core.names import TableName
from millrace.features.functions.store import finder
from millrace.features.tables import create_feature_table
from millrace.features.training_set import TrainingSet, build_training_set
from millrace.pipeline.audit.alter import Change, changed
from millrace.pipeline.audit.compare import Difference, compare
from millrace.pipeline.audit.findings import Finding
from millrace.pipeline.audit.job import Job, Snapshot
from millrace.pipeline.audit.likeness import label_likeness
from millrace.pipeline.audit.rerun import computed_tables, evidence_of, first_column
from millrace.pipeline.audit.rules import TableRule, lookup_rules, table_lookups
from millrace.pipeline.audit.samples import label_rows, spread
from millrace.pipeline.declare import LabelTable, Pipeline
from millrace.pipeline.port import Services

if TYPE_CHECKING:
    import pyarrow as pa

_TIMES = 3  # at which the future of a looked-up table is changed
_ROW = "row"


def audit_training_set(
    services: Services, pipeline: Pipeline, job: Job, computed: Mapping[Snapshot, pa.Table]
) -> list[Finding]:
    """Findings about lookups and label likeness, in a scratch home whose own tables become the rows that were computed.

    Raises:
        InvalidInput: the training set can't be built.
    """
    _store(services, pipeline, computed)
    requests = label_rows(services, pipeline, job.samples)
    label = pipeline.labels
    if not len(requests):
        fact = "no label is known near the audited times, so no training set was audited"
        return [
            Finding("lookups", "warning", label.name, fact, "name other times with --as-of, or import more history")
        ]
    training = _Training(services, pipeline, requests, services.clock.now())
    whole = training.build(requests, {})
    likeness = label_likeness(whole.table, whole.spec.inputs, label.column, job.thresholds)
    return [*likeness, *_blindness(training, whole.table)]


@dataclass(frozen=True, slots=True)
class _Training:
    services: Services
    pipeline: Pipeline
    requests: pa.Table
    as_of: datetime

    def build(self, requests: pa.Table, versions: Mapping[TableName, int]) -> TrainingSet:
        label = self.pipeline.labels
        return build_training_set(
            self.services.lake,
            self.services.asof,
            requests,
            [*self.pipeline.all_lookups, *self.pipeline.functions],
            label.column,
            exclude=(*label.keys, label.time, *self.pipeline.exclude),
            as_of=self.as_of,
            versions=versions,
            functions=finder(self.services.functions),
        )

    def rebuilt(self, whole: pa.Table, rule: TableRule, change: Change, time: datetime | None) -> Difference:
        """How the rows up to a time differ from those of `whole` when a table is changed after it."""
        import numpy as np
        import pyarrow as pa

        lake, label, name = self.services.lake, self.pipeline.labels, TableName.parse(rule.name)
        rows = lake.read(name)
        version = lake.overwrite(name, changed(rows, rule, change, time), why=f"audit: {change}").version
        mask = self._up_to(time)
        again = self.build(self.requests.filter(mask), {name: int(version)}).table
        lake.overwrite(name, rows, why="audit: as before")
        numbers = pa.array(np.arange(len(again)))
        first = whole.filter(mask)
        keys = (*label.keys, label.time, _ROW)
        return compare(first.append_column(_ROW, numbers), again.append_column(_ROW, numbers), keys)

    def _up_to(self, time: datetime | None) -> pa.Array:
        import numpy as np
        import pyarrow as pa

        at = self.requests.column(self.pipeline.labels.time).cast(pa.int64()).to_numpy()
        return pa.array(np.ones(len(at), dtype=bool) if time is None else at <= epoch_us(time))


def _store(services: Services, pipeline: Pipeline, computed: Mapping[Snapshot, pa.Table]) -> None:
    import pyarrow as pa

    for table in computed_tables(pipeline):
        parts = [rows for (name, _), rows in computed.items() if name == table.name]
        rows = pa.concat_tables(parts, promote_options="permissive")
        if services.lake.exists(table.name):
            services.lake.drop(table.name)
        create_feature_table(
            services.lake,
            table.name,
            rows.schema,
            primary_keys=table.keys,
            timeseries_column=table.time,
            available_after=table.horizon if isinstance(table, LabelTable) else timedelta(0),
            role="labels" if isinstance(table, LabelTable) else "features",
        )
        services.lake.append(table.name, rows)


def _blindness(training: _Training, whole: pa.Table) -> list[Finding]:
    """Each looked-up table changed after each time, or as a whole where it has no time: do rows up to the time change?"""
    pipeline = training.pipeline
    rules = lookup_rules(training.services.lake, pipeline)
    times = spread(training.requests, pipeline.labels.time, _TIMES)
    found = []
    for rule in rules:
        for change, time in _changes(rule, times):
            difference = training.rebuilt(whole, rule, change, time)
            if difference:
                found.append(_leak(pipeline, rule, change, time, difference))
                break
    leaking = {finding.subject for finding in found}
    fine = [rule.name for rule in rules if rule.name not in leaking and rule.is_timed]
    if not fine:
        return found
    fact = f"{len(whole):,} training rows stay the same when later rows of {', '.join(fine)} are removed or altered"
    return [*found, Finding("lookups", "ok", pipeline.labels.name, fact)]


def _changes(rule: TableRule, times: list[datetime]) -> Iterator[tuple[Change, datetime | None]]:
    if not rule.is_timed:
        yield "whole", None
        return
    for time in times:
        yield "removed", time
        yield "altered", time


def _leak(
    pipeline: Pipeline, rule: TableRule, change: Change, time: datetime | None, difference: Difference
) -> Finding:
    fact, hint = _reason(pipeline, rule, change, time)
    return Finding(
        "lookups",
        "leak",
        rule.name,
        f"{fact}: {difference}",
        hint,
        as_of=time,
        column=first_column(difference),
        evidence={"change": change, **evidence_of(difference)},
    )


def _reason(pipeline: Pipeline, rule: TableRule, change: Change, time: datetime | None) -> tuple[str, str]:
    name = rule.name
    if time is None:
        return (
            f"{name} has no timeseries column, so that training rows of any time get its values of today",
            f"give it a timeseries column and keep its snapshots, or take the risk with --accept {name}",
        )
    lookups = [each for each in table_lookups(pipeline) if TableName.parse(each.table_name) == TableName.parse(name)]
    if any(each.timestamp_lookup_key is None for each in lookups):
        return (
            f"{name} is looked up without a time, so that training rows get its newest values, whatever their time",
            f"give the lookup timestamp_lookup_key='{pipeline.labels.time}'",
        )
    return (
        f"training rows up to {iso(time)} change when later rows of {name} are {change}",
        "this breaks a promise of millrace: please report it",
    )
