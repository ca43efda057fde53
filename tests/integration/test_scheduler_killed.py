"""A thousand scheduled jobs, schedulers that are killed again and again, and a clock that jumps: each tick runs once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from millrace.api.options import ChildOptions
from millrace.core.events import EventLog
from millrace.jobs.job import ConditionTask, CronSchedule, Job, Task
from millrace.jobs.job_run import JobRun
from millrace.jobs.put_job import put_jobs
from millrace.jobs.quartz import parse
from millrace.workspace import Workspace, open_workspace

_BEGIN = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # in Berlin, clocks change half an hour later
_SPAN = timedelta(minutes=65)
_ZONE = "Europe/Berlin"


class Schedulers:
    """Two scheduler processes of one home, as two servers with one database would have."""

    def __init__(self, home: Path) -> None:
        options = ChildOptions(str(home), str(home / "run"), "test", "http://127.0.0.1:0").text()
        self._command, self._log = [sys.executable, "-m", "millrace.api.scheduler", options], home / "scheduler.log"
        self._running = [self._start(), self._start()]

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self, one: int) -> None:
        self._running[one].kill()
        self._running[one].wait()
        self._running[one] = self._start()

    def end(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            assert process.wait(30) in (0, -signal.SIGTERM)  # it may not have begun yet


def _expression(at: int) -> str:
    minute, second = at % 60, at // 60 % 60
    return [f"{second} {minute} * * * ?", f"{second} {minute} 2 * * ?", f"{second} {minute} 0/2 * * ?"][at % 3]


@pytest.mark.long
@pytest.mark.parametrize(("jobs", "kills"), [(30, 4), (1_000, 10)])
@pytest.mark.timeout(1_200)
def test_each_tick_of_many_jobs_runs_once(jobs: int, kills: int, tmp_path: Path) -> None:
    random = np.random.default_rng(jobs)
    with closing(open_workspace(tmp_path)) as workspace:
        workspace.clock.set(_BEGIN)
        task = Task("only", ConditionTask("EQUAL_TO", "1", "1"))
        schedules = [CronSchedule(_expression(at), _ZONE, catch_up="all") for at in range(jobs)]
        put_jobs(workspace.jobs, [Job(f"job{at}", [task], each) for at, each in enumerate(schedules)])
        schedulers, latest, now = Schedulers(tmp_path), _BEGIN, _BEGIN
        try:
            for _ in range(kills):
                now += timedelta(minutes=float(random.integers(-15, 20)))
                latest = max(latest, now)
                workspace.clock.set(now)
                time.sleep(float(random.exponential(2.0)))
                schedulers.kill(int(random.integers(2)))
            latest = max(latest, _BEGIN + _SPAN)
            workspace.clock.set(latest)
            expected = {
                f"job{at}": list(parse(each.quartz_cron_expression, _ZONE).between(_BEGIN, latest))
                for at, each in enumerate(schedules)
            }
            wanted = sum(map(len, expected.values()))
            assert wanted >= jobs
            runs = _wait(workspace, wanted)
        finally:
            schedulers.end()
        for name, ticks in expected.items():
            assert sorted(run.due for run in runs if run.job == name and run.due) == ticks
        assert {run.result_state for run in runs} == {"SUCCESS"}
        assert set(Counter(_ended(workspace.events)).values()) == {1}


def _wait(workspace: Workspace, wanted: int) -> list[JobRun]:
    """All runs, when there are so many and none goes on."""
    until = time.monotonic() + 900
    while workspace.jobs.runs.list(limit=1, unfinished=True) or len(_all(workspace)) < wanted:
        assert time.monotonic() < until, f"{len(_all(workspace))} of {wanted} runs"
        time.sleep(0.5)
    return _all(workspace)


def _all(workspace: Workspace) -> list[JobRun]:
    return list(workspace.jobs.runs.list(limit=100_000))


def _ended(log: EventLog) -> list[object]:
    """Of each end of a run in the event log, which run it was."""
    ended, after = list[object](), 0
    while page := log.read(after=after):
        ended += [event.data["run_id"] for event in page if event.kind == "job_run.terminated"]
        after = page[-1].cursor
    return ended
