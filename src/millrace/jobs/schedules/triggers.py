"""Runs of jobs that wait for a change: one for each, or one for several that come shortly after each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from millrace.jobs.job import Trigger
from millrace.jobs.job_run import JobId, RunId
from millrace.jobs.port import KeptJob
from millrace.jobs.schedules.causes import declared_as, has_happened, position_of, trigger_type
from millrace.jobs.schedules.port import ScheduleDesk
from millrace.jobs.schedules.types import CauseMark, Position
from millrace.jobs.submit import submit

# A change is waited for to be the last for a moment, but not for long: by the machine's clock, since a virtual one may stand.
QUIET_S, LONGEST_S = 2.0, 30.0
_PREFIX = "trigger"


@dataclass
class Triggers:
    """The triggers of a home, as one process watches them.

    A run is made in two steps, so that each change has one, whoever is killed when and however many watch: what the run is for
    is written down with the number that its token has, then the run is asked for. While a run waits in the queue no other is
    made: what happens meanwhile is for the one after it, since the first may begin at any moment.
    """

    desk: ScheduleDesk
    quiet_s: float = QUIET_S
    seconds: Callable[[], float] = time.monotonic
    _moving: dict[JobId, tuple[Position, float, float]] = field(default_factory=dict, init=False)

    def look(self, kept: KeptJob, mark: CauseMark | None) -> tuple[CauseMark | None, list[RunId]]:
        """Make the run of a job that is due; the mark as it is then (None: another wrote it, read it again), and the run."""
        trigger, declared = kept.job.trigger, declared_as(kept.job)
        if trigger is None or not declared:
            return mark, []
        if mark is None or mark.declared != declared:
            return self._begin(kept, trigger, mark, declared), []
        if mark.pending is None:
            looked = self.seconds()
            now = position_of(self.desk, trigger, mark.position)
            if not has_happened(trigger, mark.position, now):
                self._moving.pop(kept.job_id, None)
                return mark, []
            if not self._is_quiet(kept.job_id, now, looked) or self._is_queued(kept):
                return mark, []
            merged = {**mark.position, **{name: value for name, value in now.items() if value is not None}}
            claimed = self.desk.marks.replace(replace(mark, pending=merged, number=mark.number + 1))
            if claimed is None:
                return None, []
            mark = claimed
        return self._make(kept, trigger, mark)

    def is_waiting(self) -> bool:
        """Whether a change is watched whether it is the last."""
        return bool(self._moving)

    def _begin(self, kept: KeptJob, trigger: Trigger, mark: CauseMark | None, declared: str) -> CauseMark | None:
        """What is there already is not a change."""
        here = position_of(self.desk, trigger, None)
        number, revision = (mark.number, mark.revision) if mark else (0, 0)
        return self.desk.marks.replace(CauseMark(kept.job_id, declared, here, None, number, revision))

    def _make(self, kept: KeptJob, trigger: Trigger, mark: CauseMark) -> tuple[CauseMark | None, list[RunId]]:
        token = f"{_PREFIX}/{kept.job_id}/{mark.number}"
        run = submit(self.desk.jobs, kept.job.name, token=token, trigger=trigger_type(trigger))
        self._moving.pop(kept.job_id, None)
        return self.desk.marks.replace(replace(mark, position=mark.pending or mark.position, pending=None)), [run]

    def _is_quiet(self, job_id: JobId, now: Position, looked: float) -> bool:
        """Whether nothing has changed for a while; `looked`: when the look for that began, which may have taken long."""
        seen = self.seconds()
        position, since, first = self._moving.get(job_id, (None, seen, seen))
        if position != now:
            since = seen
        self._moving[job_id] = (now, since, first)
        return looked - since >= self.quiet_s or looked - first >= LONGEST_S

    def _is_queued(self, kept: KeptJob) -> bool:
        waiting = self.desk.jobs.runs.list(kept.job.name, unfinished=True)
        prefix = f"{_PREFIX}/{kept.job_id}/"
        return any(run.life_cycle_state == "QUEUED" and run.token.startswith(prefix) for run in waiting)
