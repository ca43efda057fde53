"""The audit itself: what was computed as of a time is computed again with another future, and must be the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from millrace.core.clock import iso
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.pipeline.audit.alter import Change
from millrace.pipeline.audit.around import project_files
from millrace.pipeline.audit.findings import AuditReport, Finding, ordered, taken
from millrace.pipeline.audit.history import judge_histories, judge_stored
from millrace.pipeline.audit.job import Answer, Job, Runner, Snapshot, Thresholds
from millrace.pipeline.audit.rerun import (
    Rerun,
    What,
    computed_tables,
    done,
    evidence_of,
    first_column,
    first_of_each,
    is_label,
)
from millrace.pipeline.audit.rules import declared_sources, find_rules, remedy
from millrace.pipeline.audit.scratch import concerns
from millrace.pipeline.audit.times import Times, choose_times
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.port import Progress, Services


@dataclass(frozen=True, slots=True)
class Options:
    """How an audit is made.

    Attributes:
        as_of: these times; none: `count` of them, spread over the history.
        count: how many times.
        quick: one time, and the future altered but not removed.
        accept: tables and columns whose leak is taken knowingly, where it is of a kind that can be.
        thresholds: of label likeness.
    """

    as_of: Sequence[datetime] = ()
    count: int = 3
    quick: bool = False
    accept: frozenset[str] = frozenset()
    thresholds: Thresholds = field(default_factory=Thresholds)


def audit_pipeline(
    services: Services, pipeline: Pipeline, file: Path, options: Options, *, runner: Runner, progress: Progress
) -> AuditReport:
    """Audit a pipeline for leaks. Nothing in the workspace changes.

    Raises:
        InvalidInput: the pipeline's functions fail on the rows as they are, or there is no history to audit.
        NotFound: a table of the pipeline does not exist.
    """
    for source in declared_sources(pipeline):
        services.lake.entry(source.name)
    page = "\n".join(path.read_text() for path in project_files(file))
    rules = find_rules(services.lake, pipeline, page)
    times = choose_times(services, pipeline, options.as_of, 1 if options.quick else options.count)
    job = Job(file, pipeline.name, services.settings.database_url, rules=rules, thresholds=options.thresholds)
    audit = _Audit(services, pipeline, job, times, runner, progress)
    findings = [*audit.run(quick=options.quick), *judge_histories(services, pipeline, rules, times)]
    return AuditReport(pipeline.name, times.cuts or times.samples, ordered(taken(findings, options.accept)))


@dataclass(frozen=True)
class _Audit:
    services: Services
    pipeline: Pipeline
    job: Job
    times: Times
    runner: Runner
    progress: Progress

    def run(self, *, quick: bool) -> list[Finding]:
        """All that is found by changing rows."""
        before = self._as_it_is()
        findings = list(before.findings)
        if computed_tables(self.pipeline):
            rerun = Rerun(self.pipeline, self.runner, self.progress, before)
            findings += self._futures(rerun, ("altered",) if quick else ("removed", "altered"))
            findings += self._dimensions(rerun)
            findings += judge_stored(self.services, self.pipeline, before)
        return findings

    def _as_it_is(self) -> Answer:
        job = replace(
            self.job,
            features=sorted({*self.times.cuts, *self.times.samples}),
            labels=self.times.labels,
            look=True,
            trains=True,
            samples=self.times.samples,
            rules=(),
        )
        answer = done(self.runner, self.progress, job, "as it is, and the training set")
        for why in answer.failures.values():
            message, _, hint = why.partition("\n  hint: ")
            raise InvalidInput(message, hint=hint)
        return answer

    def _futures(self, rerun: Rerun, changes: Sequence[Change]) -> list[Finding]:
        """The future after each time changed: does what was computed as of that time change?"""
        differing: dict[str, list[tuple[Job, Snapshot, What]]] = {}
        for number, cut in enumerate(self.times.cuts):
            labels = self.times.labels[number : number + 1]
            for change in changes:
                job = replace(self.job, change=change, cut=cut, features=[cut], labels=labels)
                found = rerun.differences(job, f"what comes after {cut:%Y-%m-%d %H:%M} {change}")
                for snapshot, what in found.items():
                    differing.setdefault(snapshot[0], []).append((job, snapshot, what))
        findings = [_judge_futures(self.pipeline, rerun, found) for found in differing.values()]
        fine = [table.name for table in computed_tables(self.pipeline) if table.name not in differing]
        return [*findings, *(self._unchanged(rerun.before, name, changes) for name in fine)]

    def _unchanged(self, before: Answer, name: str, changes: Sequence[Change]) -> Finding:
        times = ", ".join(f"{cut:%Y-%m-%d}" for cut in self.times.cuts)
        if not any(len(rows) for (table, _), rows in before.snapshots.items() if table == name):
            fact = f"has no rows as of {times}, so that nothing was audited"
            return Finding("functions", "warning", name, fact, "name other times with --as-of, or import more history")
        fact = f"stays the same when what comes after {times} is {' or '.join(changes)}"
        return Finding("functions", "ok", name, fact)

    def _dimensions(self, rerun: Rerun) -> list[Finding]:
        """Tables of which nobody can tell what was known when, altered as a whole."""
        rules = [rule for rule in self.job.rules if concerns(rule, "whole")]
        if not rules:
            return []
        job = replace(self.job, change="whole", rules=rules, features=self.times.cuts, labels=self.times.labels)
        findings: list[Finding] = []
        for snapshot, what in first_of_each(rerun.differences(job, "tables without history altered")):
            rest, _ = rerun.stable_part(job, snapshot, what)
            if rest is not None:
                findings += [_dimension_leak(name, snapshot, rest) for name in rerun.guilty(job, snapshot)]
        guilty = {finding.subject for finding in findings}
        return findings + [
            Finding(
                "dimensions",
                "warning",
                rule.name,
                f"{rule.name} keeps no history; what was computed does not depend on its values",
                "keep snapshots or scd2 before something does",
            )
            for rule in rules
            if rule.declared and rule.name not in guilty and _is_source(self.pipeline, rule.name)
        ]


def _judge_futures(pipeline: Pipeline, rerun: Rerun, found: Sequence[tuple[Job, Snapshot, What]]) -> Finding:
    """A leak, where a difference of a table remains without what also differs by chance; else a warning of that."""
    chance = None
    for job, snapshot, what in found:
        rest, chance = rerun.stable_part(job, snapshot, what)
        if rest is not None:
            return _future_leak(pipeline, rerun, job, snapshot, rest)
    _, (name, at), what = found[-1]
    return Finding(
        "functions",
        "warning",
        name,
        f"values differ when the same rows come in another order, so that nothing can be said of them: {chance}",
        "compute them from the rows alone: no random numbers, no 'first' without an order",
        as_of=at,
        column=first_column(what),
    )


def _future_leak(pipeline: Pipeline, rerun: Rerun, job: Job, snapshot: Snapshot, rest: What) -> Finding:
    name, at = snapshot
    guilty = rerun.guilty(job, snapshot)
    until = "the label's horizon had ended" if is_label(pipeline, name) else "it"
    return Finding(
        "functions",
        "leak",
        name,
        f"{name} of {iso(at)} sees what came after {until}: with later rows of {', '.join(guilty)} {job.change}, {_told(rest)}",
        remedy(pipeline, guilty),
        as_of=at,
        column=first_column(rest),
        evidence={"tables": guilty, "change": job.change, **evidence_of(rest)},
    )


def _dimension_leak(table: str, snapshot: Snapshot, what: What) -> Finding:
    name, at = snapshot
    return Finding(
        "dimensions",
        "leak",
        table,
        f"{table} keeps no history: what it held at {iso(at)} is unknown, and {name} depends on it: {_told(what)}",
        f"keep snapshots or scd2 and say so in its Source, or take the risk with --accept {table}",
        as_of=at,
        column=first_column(what),
        evidence={"feature_table": name, **evidence_of(what)},
    )


def _told(what: What) -> str:
    return f"it fails: {what}" if isinstance(what, str) else str(what)


def _is_source(pipeline: Pipeline, name: str) -> bool:
    return any(TableName.parse(source.name) == TableName.parse(name) for source in declared_sources(pipeline))
