"""Computing again in a changed home, and telling what is not as before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from millrace.core.errors import InvalidInput
from millrace.pipeline.audit.compare import Difference, compare
from millrace.pipeline.audit.job import Answer, Job, Runner, Snapshot
from millrace.pipeline.audit.scratch import concerns
from millrace.pipeline.declare import FeatureTable, LabelTable, Pipeline
from millrace.pipeline.port import Progress

What = Difference | str
"""How a snapshot differs, or why there is none."""

_MOST_SUSPECTS = 6  # tables that are changed one at a time, to tell which one a leak comes from


@dataclass(frozen=True, slots=True)
class Rerun:
    """Does jobs, and compares what they give with what the first one gave.

    Attributes:
        before: what the home gives as it is.
    """

    pipeline: Pipeline
    runner: Runner
    progress: Progress
    before: Answer

    def differences(self, job: Job, name: str) -> dict[Snapshot, What]:
        """Of what a job computes, what is not as before; `name` is shown while it runs."""
        if not any(concerns(rule, job.change) for rule in job.rules):
            return {}
        answer = done(self.runner, self.progress, job, name)
        differing: dict[Snapshot, What] = {
            snapshot: why.partition("\n")[0] for snapshot, why in answer.failures.items()
        }
        for snapshot, rows in answer.snapshots.items():
            difference = compare(self.before.snapshots[snapshot], rows, self._keys(snapshot[0]))
            if difference:
                differing[snapshot] = difference
        return differing

    def stable_part(self, job: Job, snapshot: Snapshot, what: What) -> tuple[What | None, Difference | None]:
        """What remains of a difference without what also differs when the same rows come in another order; and that itself."""
        shuffled = replace(_only(self.pipeline, job, snapshot), change="shuffled", cut=None)
        unstable = self.differences(shuffled, "the same rows in another order").get(snapshot)
        if not isinstance(unstable, Difference) or isinstance(what, str):
            return what, None
        columns = {name: count for name, count in what.columns.items() if name not in unstable.columns}
        keys_are_stable = not (unstable.gone or unstable.new)
        rest = replace(
            what,
            columns=columns,
            gone=what.gone if keys_are_stable else 0,
            new=what.new if keys_are_stable else 0,
            example=what.example if set(columns) & set(what.example) else {},
        )
        return rest or None, unstable

    def guilty(self, job: Job, snapshot: Snapshot) -> list[str]:
        """Of the changed tables those that alone make the difference; all that the page names where none alone does."""
        changed = [rule for rule in job.rules if concerns(rule, job.change)]
        suspects = [rule for rule in changed if rule.named] or changed
        if len(suspects) == 1:
            return [suspects[0].name]
        alone = _only(self.pipeline, job, snapshot)
        found = [
            rule.name
            for rule in suspects[:_MOST_SUSPECTS]
            if snapshot in self.differences(replace(alone, rules=[rule]), f"is it {rule.name}?")
        ]
        return found or [rule.name for rule in suspects]

    def _keys(self, name: str) -> tuple[str, ...]:
        table = next(table for table in computed_tables(self.pipeline) if table.name == name)
        return (*table.keys, table.time)


def computed_tables(pipeline: Pipeline) -> list[FeatureTable | LabelTable]:
    """The tables that the pipeline's functions make."""
    tables: list[FeatureTable | LabelTable] = list(pipeline.features)
    return [*tables, pipeline.label] if isinstance(pipeline.label, LabelTable) else tables


def is_label(pipeline: Pipeline, name: str) -> bool:
    """Whether it is the label table that the pipeline makes."""
    return isinstance(pipeline.label, LabelTable) and pipeline.label.name == name


def done(runner: Runner, progress: Progress, job: Job, name: str) -> Answer:
    """What a job gives, with its progress told.

    Raises:
        InvalidInput: the whole job can't be done, as when the pipeline's file does not load.
    """
    progress.stage(name, "running")
    begun = time.monotonic()
    try:
        answer = runner.run(job)
    except BaseException:
        progress.stage(name, "failed", seconds=time.monotonic() - begun)
        raise
    progress.stage(name, "done" if answer.error is None else "failed", seconds=time.monotonic() - begun)
    if answer.error is not None:
        message, hint = answer.error
        raise InvalidInput(message, hint=hint)
    return answer


def first_of_each(found: Mapping[Snapshot, What]) -> list[tuple[Snapshot, What]]:
    """One snapshot of each table."""
    firsts: dict[str, tuple[Snapshot, What]] = {}
    for snapshot, what in found.items():
        firsts.setdefault(snapshot[0], (snapshot, what))
    return list(firsts.values())


def evidence_of(what: What) -> dict[str, object]:
    """Figures of a difference, for programs."""
    if isinstance(what, str):
        return {"failure": what}
    return {
        "columns": dict(what.columns),
        "keys": what.keys,
        "keys_gone": what.gone,
        "keys_new": what.new,
        "example": dict(what.example),
    }


def first_column(what: What) -> str | None:
    """The first column that differs."""
    return next(iter(what.columns), None) if isinstance(what, Difference) else None


def _only(pipeline: Pipeline, job: Job, snapshot: Snapshot) -> Job:
    name, at = snapshot
    times: Sequence[datetime] = (at,)
    none: Sequence[datetime] = ()
    of_label = is_label(pipeline, name)
    return replace(job, features=none if of_label else times, labels=times if of_label else none)
