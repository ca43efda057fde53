"""All schedules and triggers of a home, looked at again and again by one process."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime

from millrace.core.errors import MillraceError
from millrace.jobs.job_run import JobId, RunId
from millrace.jobs.port import KeptJob
from millrace.jobs.schedules.port import ScheduleDesk
from millrace.jobs.schedules.ticks import cron_of, is_scheduled, mark_of, run_due
from millrace.jobs.schedules.triggers import Triggers
from millrace.jobs.schedules.types import CauseMark, TickMark

_log = logging.getLogger(__name__)
_CHANGES = {"job.created", "job.updated", "job.deleted"}
# By the machine's clock: a virtual one may stand.
_AGAIN_S = 30.0


@dataclass
class _Timed:
    kept: KeptJob
    mark: TickMark
    due: datetime | None = None
    again_s: float = 0.0

    @property
    def next_due(self) -> datetime | None:
        """When it is to be looked at, but for one that has just failed."""
        return None if time.monotonic() < self.again_s else self.due


@dataclass
class _Watched:
    kept: KeptJob
    mark: CauseMark | None
    again_s: float = 0.0


@dataclass
class Scheduler:
    """Makes the runs that are due. Jobs are read again when the event log says that something happened.

    What goes wrong with one job is logged, and does not hold up the others.
    """

    desk: ScheduleDesk
    triggers: Triggers = field(init=False)
    _cursor: int | None = field(default=None, init=False)
    _timed: dict[JobId, _Timed] = field(default_factory=dict, init=False)
    _watched: dict[JobId, _Watched] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.triggers = Triggers(self.desk)

    def look(self) -> list[RunId]:
        """Make the runs that are due now; which they are."""
        if self._is_news():
            self._read()
        now = self.desk.jobs.clock.now()
        made = list[RunId]()
        for timed in self._timed.values():
            if timed.next_due is not None and timed.next_due <= now:
                made += self._tick(timed, now)
        for watched in self._watched.values():
            if time.monotonic() >= watched.again_s:
                made += self._watch(watched)
        return made

    @property
    def next_due(self) -> datetime | None:
        """When the next tick is due; None where there is none."""
        dues = (timed.next_due for timed in self._timed.values())
        return min((due for due in dues if due is not None), default=None)

    @property
    def has_triggers(self) -> bool:
        """Whether there is a trigger to be watched."""
        return bool(self._watched)

    def _is_news(self) -> bool:
        """Whether jobs may have changed since they were read."""
        log = self.desk.jobs.events
        newest, first = log.newest(), self._cursor is None
        found = first
        while self._cursor is not None and self._cursor < newest and not found:
            page = log.read(after=self._cursor)
            found = not page or any(event.kind in _CHANGES for event in page)
            self._cursor = page[-1].cursor if page else newest
        self._cursor = newest
        return found

    def _read(self) -> None:
        """Read jobs and marks as they are."""
        jobs, ticks, causes = self.desk.jobs.jobs.list(), self.desk.marks.ticks(), self.desk.marks.causes()
        before = self._timed
        self._timed = {}
        for kept in jobs:
            known = before.get(kept.job_id)
            if known is not None and known.kept == kept:
                self._timed[kept.job_id] = known
            elif kept.job.schedule is not None:
                self._enter(kept, ticks.get(kept.job_id))
        watched = [kept for kept in jobs if kept.job.trigger is not None]
        self._watched = {kept.job_id: _Watched(kept, causes.get(kept.job_id)) for kept in watched}

    def _enter(self, kept: KeptJob, before: TickMark | None) -> None:
        mark = mark_of(kept, before)
        if mark != before:
            self.desk.marks.advance(mark)
        if kept.job.schedule is None or not is_scheduled(kept.job):
            return
        try:
            due = cron_of(kept.job.schedule).next_after(mark.seen)
        except MillraceError as error:
            _log.warning("the schedule of job %s is not followed: %s", kept.job.name, error)
            return
        self._timed[kept.job_id] = _Timed(kept, mark, due)

    def _tick(self, timed: _Timed, now: datetime) -> list[RunId]:
        schedule = timed.kept.job.schedule
        try:
            timed.mark, made = run_due(self.desk, timed.kept, timed.mark, now)
            timed.due = None if schedule is None else cron_of(schedule).next_after(timed.mark.seen)
        except Exception:  # noqa: BLE001 - the boundary of the loop: the mark stays, so the ticks are asked for again
            _log.exception("the schedule of job %s failed; it is tried again", timed.kept.job.name)
            timed.again_s = time.monotonic() + _AGAIN_S
            return []
        return made

    def _watch(self, watched: _Watched) -> list[RunId]:
        try:
            mark, made = self.triggers.look(watched.kept, watched.mark)
            watched.mark = self.desk.marks.causes().get(watched.kept.job_id) if mark is None else mark
        except Exception:  # noqa: BLE001 - the boundary of the loop: the mark stays, so the change is seen again
            _log.exception("the trigger of job %s failed; it is tried again", watched.kept.job.name)
            watched.again_s = time.monotonic() + _AGAIN_S
            return []
        return made
