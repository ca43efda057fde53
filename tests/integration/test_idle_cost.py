"""What a server costs while nothing happens: all its processes, with twenty jobs that are due another time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from millrace.jobs.job import ConditionTask, CronSchedule, Job, Task
from millrace.jobs.put_job import put_jobs
from millrace.targets.local_server import read_info
from millrace.workspace import open_workspace

_JOBS, _SETTLE_S, _MOST = 20, 15.0, 0.02
_WINDOW_S, _WINDOWS = 60.0, 3  # the first calm one counts: what disturbs a machine is seldom there all the time


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_an_idle_server_with_twenty_jobs_takes_under_two_percent_of_a_core(tmp_path: Path) -> None:
    with closing(open_workspace(tmp_path)) as workspace:
        task = Task("only", ConditionTask("EQUAL_TO", "1", "1"))
        put_jobs(
            workspace.jobs,
            [Job(f"job{at}", [task], CronSchedule(f"0 {at} 6 1 1 ?", "Europe/Berlin")) for at in range(_JOBS)],
        )
    command = [sys.executable, "-m", "millrace.api.supervisor", "--home", str(tmp_path), "--port", "0"]
    server = subprocess.Popen(command, process_group=0)
    try:
        until = time.monotonic() + 120
        while read_info(tmp_path) is None:
            assert time.monotonic() < until
            time.sleep(0.1)
        time.sleep(_SETTLE_S)  # for what it does once at its start
        shares = [_share(server.pid)]
        while shares[-1] >= _MOST and len(shares) < _WINDOWS:
            shares.append(_share(server.pid))
    finally:
        server.terminate()
        assert server.wait(90) == 0
    assert shares[-1] < _MOST, shares


def _share(supervisor: int) -> float:
    """How much of a core is taken in a window."""
    since, before = time.monotonic(), _seconds(supervisor)
    time.sleep(_WINDOW_S)
    until, after = time.monotonic(), _seconds(supervisor)
    assert before.keys() == after.keys()
    return (sum(after.values()) - sum(before.values())) / (until - since)


def _seconds(supervisor: int) -> dict[int, float]:
    """By process, the supervisor's and its children's, the processor time it has had."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(supervisor)], capture_output=True, text=True, check=True
    ).stdout
    return {pid: _taken(pid) for pid in (supervisor, *map(int, listed.split()))}


def _taken(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
