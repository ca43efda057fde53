"""The scheduler process behind its door: it is there while there is something for it, and not longer."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from millrace.api import scheduler
from millrace.api.doors import Door, knock
from millrace.api.scheduler import Work, attend
from millrace.jobs.job import ConditionTask, CronSchedule, Job, Task
from millrace.jobs.put_job import put_job
from millrace.jobs.schedules.pause import pause_job
from millrace.jobs.submit import submit
from millrace.workspace import Workspace, open_workspace

_TASKS = [Task("only", ConditionTask("EQUAL_TO", "1", "1"))]
_LONGEST_S = 240.0


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with closing(open_workspace(tmp_path)) as opened:
        yield opened


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with closing(Door(tmp_path / "scheduler.sock")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_LOOK_S", 0.05)
    monkeypatch.setattr(scheduler, "_IDLE_S", 0.3)


def _attended(workspace: Workspace, door: Door, stop: threading.Event) -> bool:
    async def story() -> bool:
        with socket.socket(fileno=os.dup(door.fileno())) as behind:
            return await asyncio.wait_for(attend(workspace, behind, stop), _LONGEST_S)

    return asyncio.run(story())


def test_where_there_is_nothing_it_ends_at_once_and_takes_who_knocked(
    workspace: Workspace, door: Door, tmp_path: Path
) -> None:
    knock(tmp_path / "scheduler.sock")
    assert not _attended(workspace, door, threading.Event())
    assert not door.somebody_waits()
    knock(tmp_path / "scheduler.sock")
    assert door.somebody_waits()  # for the next one


def test_it_stays_while_a_job_has_a_schedule(workspace: Workspace, door: Door) -> None:
    put_job(workspace.jobs, Job("a", _TASKS, CronSchedule("0 0 6 1 1 ?")))
    pausing = threading.Timer(1.0, pause_job, (workspace.schedules, "a"))
    pausing.start()
    assert not _attended(workspace, door, threading.Event())
    pausing.join()  # it ended for that


def test_it_executes_what_is_queued_and_ends(workspace: Workspace, door: Door) -> None:
    put_job(workspace.jobs, Job("a", _TASKS))
    run = submit(workspace.jobs, "a")
    assert not _attended(workspace, door, threading.Event())
    assert workspace.jobs.runs.get(run).result_state == "SUCCESS"


def test_what_comes_when_it_has_just_decided_to_end_is_not_left(
    workspace: Workspace, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_job(workspace.jobs, Job("a", _TASKS))
    runs, run = list[int](), scheduler.run

    def last_moment(workspace: Workspace, work: Work, stop: threading.Event) -> bool:
        anew = run(workspace, work, stop)
        if not runs:
            runs.append(submit(workspace.jobs, "a"))
        return anew

    monkeypatch.setattr(scheduler, "run", last_moment)
    assert not _attended(workspace, door, threading.Event())
    assert [each.is_over for each in workspace.jobs.runs.list("a")] == [True]


def test_what_can_not_be_looked_at_is_looked_at_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[Exception | bool] = [OSError("away"), True]

    def looked(*_: object) -> bool:
        found = looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    work = Work(workspace)
    monkeypatch.setattr(work, "is_over", looked)
    assert not scheduler.run(workspace, work, threading.Event())
    assert (looks, "is not known" in caplog.text) == ([], True)
