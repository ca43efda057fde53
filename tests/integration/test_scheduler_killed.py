"""A thousand scheduled jobs, schedulers and tasks that are killed again and again, and a clock that jumps: each tick runs once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from millrace.api.options import ChildOptions
from millrace.core.events import EventLog
from millrace.jobs.job import ConditionTask, CronSchedule, Job, SparkPythonTask, Task
from millrace.jobs.job_run import JobRun, RunId
from millrace.jobs.put_job import put_jobs
from millrace.jobs.quartz import parse
from millrace.workspace import Workspace, open_workspace
from tests.integration.children import descendants

_BEGIN = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # in Berlin, clocks change half an hour later
_SPAN = timedelta(minutes=65)
_ZONE = "Europe/Berlin"
# Some of the jobs have a program, which runs every twenty minutes.
_PROGRAMS = 5
_PROGRAM = """
import fcntl, os, sys, time
notes, run = sys.argv[1:]
def note(what):
    fd = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{run} {what}\\n".encode())
try:
    fcntl.flock(os.open(f"{notes}.{run}", os.O_WRONLY | os.O_CREAT), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("overlap")
note("begin")
time.sleep(0.5)
note("end")
"""


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

    def kill_a_task(self, random: np.random.Generator, patience_s: float) -> None:
        """One of the processes of an attempt, when there are some; not waited for for ever: there may be nothing to do."""
        until = time.monotonic() + patience_s
        while not (found := [each for one in self._running for each in descendants(one.pid)]):
            if time.monotonic() > until:
                return
            time.sleep(0.005)
        with suppress(ProcessLookupError):
            os.kill(int(random.choice(found)), signal.SIGKILL)

    def end(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            assert process.wait(90) in (0, -signal.SIGTERM)  # it may not have begun yet


def _expression(at: int) -> str:
    minute, second = at % 60, at // 60 % 60
    return [f"{second} {minute} * * * ?", f"{second} {minute} 2 * * ?", f"{second} {minute} 0/2 * * ?"][at % 3]


def _jobs(count: int, folder: Path) -> list[Job]:
    """Most have a condition, which needs no process."""
    program, notes = folder / "program.py", folder / "notes"
    program.write_text(_PROGRAM)
    condition = Task("only", ConditionTask("EQUAL_TO", "1", "1"))
    work = SparkPythonTask(str(program), (str(notes), "{{job.run_id}}"))
    process = Task("only", work, max_retries=-1, min_retry_interval_millis=10)
    jobs = []
    for at in range(count):
        has_process = at % (count // _PROGRAMS) == 0
        expression = f"{at % 60} 0/20 * * * ?" if has_process else _expression(at)
        schedule = CronSchedule(expression, _ZONE, catch_up="all")
        jobs.append(Job(f"job{at}", [process if has_process else condition], schedule, folder=str(folder)))
    return jobs


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes to kill under /proc")
@pytest.mark.parametrize(("count", "kills"), [(30, 4), (1_000, 10)])
@pytest.mark.timeout(1_200)
def test_each_tick_of_many_jobs_runs_once(count: int, kills: int, tmp_path: Path) -> None:
    random = np.random.default_rng(count)
    with closing(open_workspace(tmp_path / "home")) as workspace:
        workspace.clock.set(_BEGIN)
        jobs = _jobs(count, tmp_path)
        put_jobs(workspace.jobs, jobs)
        latest = now = _BEGIN + timedelta(minutes=25)
        schedulers = Schedulers(workspace.home)
        try:
            workspace.clock.set(now)
            for _ in range(_PROGRAMS):
                schedulers.kill_a_task(random, patience_s=120)
            for _ in range(kills):
                now += timedelta(minutes=float(random.integers(-15, 20)))
                latest = max(latest, now)
                workspace.clock.set(now)
                schedulers.kill_a_task(random, patience_s=2)
                time.sleep(float(random.exponential(2.0)))
                schedulers.kill(int(random.integers(2)))
            latest = max(latest, _BEGIN + _SPAN)
            workspace.clock.set(latest)
            expected = {job.name: _ticks(job, latest) for job in jobs}
            wanted = sum(map(len, expected.values()))
            assert wanted >= count
            runs = _wait(workspace, wanted)
        finally:
            schedulers.end()
        for name, ticks in expected.items():
            assert sorted(run.due for run in runs if run.job == name and run.due) == ticks
        assert {run.result_state for run in runs} == {"SUCCESS"}
        assert Counter(_ended(workspace.events)) == Counter(run.run_id for run in runs)
        with_process = {job.name for job in jobs if isinstance(job.tasks[0].work, SparkPythonTask)}
        _check_programs(workspace, tmp_path, [run.run_id for run in runs if run.job in with_process])


def _ticks(job: Job, until: datetime) -> list[datetime]:
    assert isinstance(job.schedule, CronSchedule)
    return list(parse(job.schedule.quartz_cron_expression, _ZONE).between(_BEGIN, until))


def _check_programs(workspace: Workspace, folder: Path, runs: Sequence[RunId]) -> None:
    """Each came to its end, none beside another of the same run, and some had to begin again."""
    said = Counter(tuple(line.split()) for line in (folder / "notes").read_text().splitlines())
    assert {what for _, what in said} == {"begin", "end"}
    assert {run for run, what in said if what == "end"} == {str(run) for run in runs}
    attempts = [workspace.jobs.runs.tasks(run) for run in runs]
    assert {sum(each.result_state == "SUCCESS" for each in those) for those in attempts} == {1}
    assert max(map(len, attempts)) > 1


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
