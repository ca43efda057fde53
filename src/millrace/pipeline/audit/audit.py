"""The audit itself: what was computed as of a time is computed again with another future, and must be the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from millrace.core.clock import iso
from millrace.core.errors import InvalidInput
from millrace.pipeline.audit.alter import Change
from millrace.pipeline.audit.around import project_files
from millrace.pipeline.audit.compare import Difference, compare
from millrace.pipeline.audit.findings import AuditReport, Finding, ordered
from millrace.pipeline.audit.history import judge_histories
from millrace.pipeline.audit.job import Answer, Job, Runner, Snapshot, Thresholds
from millrace.pipeline.audit.rules import TableRule, declared_sources, find_rules
from millrace.pipeline.audit.scratch import concerns
from millrace.pipeline.audit.times import Times, choose_times
from millrace.pipeline.declare import LabelTable, Pipeline
from millrace.pipeline.port import Progress, Services

_MOST_SUSPECTS = 6  # tables that are changed one at a time, to tell which one a leak comes from
_QUICK = 1


@dataclass(frozen=True, slots=True)
class Options:
    """How an audit is made.

    Attributes:
        as_of: these times; none: `count` of them, spread over the history.
        count: how many times.
        quick: one time, and the future altered but not removed.
        accept: tables and columns whose leak is taken knowingly, where it is one of a kind that can be.
        thresholds: of label likeness.
    """

    as_of: Sequence[datetime] = ()
    count: int = 3
    quick: bool = False
    accept: frozenset[str] = frozenset()
    thresholds: Thresholds = field(default_factory=Thresholds)


def audit_pipeline(
    services: Services, pipeline: Pipeline, file: Path, runner: Runner, progress: Progress, options: Options
) -> AuditReport:
    """Audit a pipeline for leaks. Nothing in the workspace changes.

    Raises:
        InvalidInput: the pipeline's functions fail on the rows as they are, or there is no history to audit.
        NotFound: a table of the pipeline does not exist.
    """
    _check_sources(services, pipeline)
    page = "\n".join(path.read_text() for path in project_files(file))
    rules = find_rules(services.lake, pipeline, page)
    times = choose_times(services, pipeline, options.as_of, _QUICK if options.quick else options.count)
    job = Job(file, pipeline.name, services.settings.database_url, rules=rules, thresholds=options.thresholds)
    audit = _Audit(pipeline, job, times, runner, progress)
    findings = [*audit.run(quick=options.quick), *judge_histories(services, pipeline, rules, times)]
    return AuditReport(
        pipeline.name, times.cuts or times.samples, ordered([one.accepted(options.accept) for one in findings])
    )


def _check_sources(services: Services, pipeline: Pipeline) -> None:
    for source in declared_sources(pipeline):
        services.lake.entry(source.name)


@dataclass(frozen=True)
class _Audit:
    pipeline: Pipeline
    job: Job
    times: Times
    runner: Runner
    progress: Progress

    def run(self, *, quick: bool) -> list[Finding]:
        """All that is found by changing rows."""
        findings: list[Finding] = []
        before = Answer()
        if self._computes:
            before = self._baseline()
            findings += before.findings
            findings += self._futures(before, ("altered",) if quick else ("removed", "altered"))
            findings += self._dimensions(before)
        return [*findings, *self._training(before)]

    @property
    def _computes(self) -> bool:
        return bool(self.pipeline.features) or isinstance(self.pipeline.label, LabelTable)

    def _baseline(self) -> Answer:
        features = sorted({*self.times.cuts, *self.times.samples})
        job = replace(self.job, features=features, labels=self.times.labels, look=True, rules=())
        answer = self._do("as it is", job)
        _refuse(answer.failures)
        return answer

    def _futures(self, before: Answer, changes: Sequence[Change]) -> list[Finding]:
        """The future after each time changed: does what was computed as of that time change?"""
        differing: dict[str, tuple[Job, dict[Snapshot, Difference | str]]] = {}
        for number, cut in enumerate(self.times.cuts):
            for change in changes:
                labels = self.times.labels[number : number + 1]
                job = replace(self.job, change=change, cut=cut, features=[cut], labels=labels)
                found = self._differences(before, job, f"what comes after {cut:%Y-%m-%d %H:%M} {change}")
                differing.update(
                    {name: (job, {(name, at): what}) for (name, at), what in found.items() if name not in differing}
                )
        names = [table.name for table in self.pipeline.features]
        names += [self.pipeline.label.name] if isinstance(self.pipeline.label, LabelTable) else []
        findings = [self._judge(before, job, *next(iter(found.items()))) for job, found in differing.values()]
        fine = [name for name in names if name not in differing]
        shown = ", ".join(f"{cut:%Y-%m-%d}" for cut in self.times.cuts)
        return findings + [
            Finding("functions", "ok", name, f"stays the same when what comes after {shown} is {' or '.join(changes)}")
            for name in fine
        ]

    def _judge(self, before: Answer, job: Job, snapshot: Snapshot, what: Difference | str) -> Finding:
        name, at = snapshot
        unstable = self._unstable(before, snapshot)
        if isinstance(what, Difference) and unstable and set(what.columns) <= set(unstable.columns):
            return Finding(
                "functions",
                "warning",
                name,
                f"its values differ from computation to computation, so that nothing can be said of them: {unstable}",
                "compute them from the rows alone: no random numbers, no 'first' without an order",
                as_of=at,
                column=next(iter(unstable.columns), None),
            )
        guilty = self._guilty(before, job, snapshot)
        is_label = isinstance(self.pipeline.label, LabelTable) and name == self.pipeline.label.name
        known = "its horizon ended" if is_label else "it is of"
        hint = "take the table as a parameter with a Source: the frame that is handed in ends in time"
        return Finding(
            "functions",
            "leak",
            name,
            f"{name} at {iso(at)} sees what came after the time that {known}: with {_listed(guilty)} {job.change} from there on: {what}",
            hint if isinstance(what, Difference) else "it reads rows that were not there yet; " + hint,
            as_of=at,
            column=next(iter(what.columns), None) if isinstance(what, Difference) else None,
            evidence={"tables": guilty, "change": job.change, **_evidence(what)},
        )

    def _dimensions(self, before: Answer) -> list[Finding]:
        """Tables of which nobody can tell what was known when, altered as a whole."""
        rules = [rule for rule in self.job.rules if concerns(rule, "whole")]
        if not rules:
            return []
        job = replace(self.job, change="whole", rules=rules, features=self.times.cuts, labels=self.times.labels)
        found = self._differences(before, job, "tables without history altered")
        findings = []
        guilty: set[str] = set()
        for snapshot, what in _first_of_each(found):
            named = self._guilty(before, job, snapshot)
            guilty |= set(named)
            findings += [_dimension_leak(name, snapshot, what) for name in named]
        return findings + [
            Finding(
                "dimensions",
                "warning",
                rule.name,
                f"{rule.name} keeps no history; nothing that was audited depends on its values",
                "keep snapshots or scd2 before something does",
            )
            for rule in rules
            if rule.declared and rule.name not in guilty
        ]

    def _training(self, before: Answer) -> list[Finding]:
        job = replace(self.job, rules=(), features=self.times.samples, snapshots=before.folder)
        return list(self._do("the training set", job).findings)

    def _guilty(self, before: Answer, job: Job, snapshot: Snapshot) -> list[str]:
        """Of the changed tables those that alone make the difference; all of them where none alone does."""
        suspects = [rule for rule in job.rules if concerns(rule, job.change)]
        suspects.sort(key=lambda rule: not rule.declared)
        everything = [rule.name for rule in suspects if rule.declared] or [rule.name for rule in suspects]
        if len(suspects) <= 1:
            return everything
        name, at = snapshot
        is_label = isinstance(self.pipeline.label, LabelTable) and name == self.pipeline.label.name
        asked: Mapping[str, Sequence[datetime]] = {
            "features": () if is_label else (at,),
            "labels": (at,) if is_label else (),
        }
        found = [
            rule.name
            for rule in suspects[:_MOST_SUSPECTS]
            if snapshot in self._differences(before, replace(job, rules=[rule], **asked), f"is it {rule.name}?")  # type: ignore[arg-type]
        ]
        return found or everything

    def _unstable(self, before: Answer, snapshot: Snapshot) -> Difference | None:
        """How a snapshot differs when the same rows come in another order."""
        name, at = snapshot
        is_label = isinstance(self.pipeline.label, LabelTable) and name == self.pipeline.label.name
        features, labels = ((), (at,)) if is_label else ((at,), ())
        job = replace(self.job, change="shuffled", features=features, labels=labels)
        what = self._differences(before, job, "the same rows in another order").get(snapshot)
        return what if isinstance(what, Difference) else None

    def _differences(self, before: Answer, job: Job, name: str) -> dict[Snapshot, Difference | str]:
        """Of what a job computed, what is not as before: how it differs, or why it failed."""
        if not any(concerns(rule, job.change) for rule in job.rules):
            return {}
        answer = self._do(name, job)
        differing: dict[Snapshot, Difference | str] = dict(answer.failures)
        for snapshot, rows in answer.snapshots.items():
            difference = compare(before.snapshots[snapshot], rows, self._keys(snapshot[0]))
            if difference:
                differing[snapshot] = difference
        return differing

    def _keys(self, name: str) -> tuple[str, ...]:
        tables = [
            *self.pipeline.features,
            *([self.pipeline.label] if isinstance(self.pipeline.label, LabelTable) else []),
        ]
        table = next(table for table in tables if table.name == name)
        return (*table.keys, table.time)

    def _do(self, name: str, job: Job) -> Answer:
        answer = _told(self.progress, name, lambda: self.runner.run(job))
        if answer.error is not None:
            message, hint = answer.error
            raise InvalidInput(message, hint=hint)
        return answer


def _told(progress: Progress, name: str, do: Callable[[], Answer]) -> Answer:
    import time

    progress.stage(name, "running")
    begun = time.monotonic()
    try:
        answer = do()
    except BaseException:
        progress.stage(name, "failed", seconds=time.monotonic() - begun)
        raise
    progress.stage(name, "done", seconds=time.monotonic() - begun)
    return answer


def _refuse(failures: Mapping[Snapshot, str]) -> None:
    for (_, _), why in failures.items():
        message, _, hint = why.partition("\n  hint: ")
        raise InvalidInput(message, hint=hint)


def _first_of_each(found: Mapping[Snapshot, Difference | str]) -> Iterable[tuple[Snapshot, Difference | str]]:
    seen: set[str] = set()
    for snapshot, what in found.items():
        if snapshot[0] not in seen:
            seen.add(snapshot[0])
            yield snapshot, what


def _dimension_leak(table: str, snapshot: Snapshot, what: Difference | str) -> Finding:
    name, at = snapshot
    return Finding(
        "dimensions",
        "leak",
        table,
        f"{table} keeps no history: what it held at {iso(at)} is unknown, and {name} depends on it: {what}",
        f"keep snapshots or scd2 and say so in its Source, or take the risk with --accept {table}",
        as_of=at,
        column=next(iter(what.columns), None) if isinstance(what, Difference) else None,
        evidence={"feature_table": name, **_evidence(what)},
    )


def _evidence(what: Difference | str) -> dict[str, object]:
    if isinstance(what, str):
        return {"failure": what}
    return {
        "columns": dict(what.columns),
        "keys": what.keys,
        "keys_gone": what.gone,
        "keys_new": what.new,
        "example": dict(what.example),
    }


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "rows"
