"""Engines that stop, follow each other and execute beside each other, and what they keep."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from sqlalchemy import update

from millrace.database.schema import job_runs, task_runs
from millrace.jobs.cancel import cancel
from millrace.jobs.job import ConditionTask, Job, Task, TaskDependency
from millrace.jobs.port import EXECUTOR, JobDesk
from millrace.jobs.put_job import put_job, put_jobs
from millrace.jobs.submit import submit
from millrace.testing.postgres import PostgresServer
from millrace.workspace import Workspace, open_workspace
from tests.integration.jobs.executing import does, engine, is_at_work, lines, over, results, wait_for

pytestmark = pytest.mark.slow


def test_an_engine_that_is_told_to_stop_ends_its_attempts_and_the_next_goes_on(
    workspace: Workspace, desk: JobDesk, tmp_path: Path
) -> None:
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    put_job(
        desk,
        Job(
            "long",
            [Task("a", does(f"note={notes}")), Task("b", does(f"note={notes}", f"until={gate}"), depends_on=["a"])],
        ),
    )
    run_id = submit(desk, "long")
    with engine(workspace):
        wait_for(lambda: len(lines(notes)) == 3)
    assert desk.leases.holder(EXECUTOR) is None
    gate.touch()
    with engine(workspace):
        assert over(desk, run_id).result_state == "SUCCESS"
    found = [
        (each.task_key, each.attempt, each.life_cycle_state, each.state_message) for each in desk.runs.tasks(run_id)
    ]
    assert found == [
        ("a", 0, "TERMINATED", ""),
        ("b", 0, "INTERNAL_ERROR", "its executor ended"),
        ("b", 1, "TERMINATED", ""),
    ]


@pytest.mark.long
def test_retries_pauses_and_time_outs_survive_the_executor(workspace: Workspace, desk: JobDesk) -> None:
    flaky = Task("a", does("fail_before=9"), max_retries=2, min_retry_interval_millis=20_000)
    put_jobs(desk, [Job("flaky", [flaky]), Job("long", [Task("a", does("sleep=600"))], timeout_seconds=2)])
    run_id, long = submit(desk, "flaky"), submit(desk, "long")
    with engine(workspace):
        wait_for(lambda: len(desk.runs.tasks(run_id)) == 2)
        wait_for(lambda: desk.runs.get(long).deadline is not None)
    waiting, deadline = desk.runs.tasks(run_id)[1], desk.runs.get(long).deadline
    assert waiting.life_cycle_state == "WAITING_FOR_RETRY"
    assert waiting.retry_at is not None
    assert deadline is not None
    with engine(workspace):
        wait_for(lambda: len(desk.runs.tasks(run_id)) == 3)
        second = desk.runs.tasks(run_id)[1]
        assert second.started_at is not None
        assert second.started_at >= waiting.retry_at
    # As if the machine's clock had been put back by ten days: nobody waits that long.
    third = desk.runs.tasks(run_id)[2]
    assert third.life_cycle_state == "WAITING_FOR_RETRY"
    with workspace.engine.begin() as connection:
        later = task_runs.c.retry_us + 864_000_000_000
        connection.execute(update(task_runs).where(task_runs.c.id == third.task_run_id).values(retry_us=later))
    with engine(workspace):
        assert over(desk, run_id).result_state == "FAILED"
        run = over(desk, long)
    assert [each.result_state for each in desk.runs.tasks(run_id)] == ["FAILED"] * 3
    assert (run.result_state, run.deadline) == ("TIMEDOUT", deadline)


def test_of_two_engines_one_executes_and_the_other_takes_over(
    workspace: Workspace, desk: JobDesk, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    put_job(desk, Job("many", [Task("a", does(f"note={notes}"))], max_concurrent_runs=9))
    with engine(workspace):
        wait_for(lambda: desk.leases.holder(EXECUTOR) is not None)
        with engine(workspace):
            for run_id in [submit(desk, "many") for _ in range(4)]:
                over(desk, run_id)
    assert desk.leases.holder(EXECUTOR) is None
    assert len([line for line in lines(notes) if line[3] == "begin"]) == 4


def test_an_engine_whose_lease_was_taken_ends_its_attempts(
    workspace: Workspace, desk: JobDesk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes, left, gate = tmp_path / "notes", tmp_path / "left", tmp_path / "gate"
    put_job(
        desk,
        Job(
            "long",
            [Task("a", does(f"note={notes}", f"leave={left}", "sleep=600")), Task("b", does(), depends_on=["a"])],
        ),
    )
    put_job(desk, Job("short", [Task("a", does(f"until={gate}"))]))
    run_id = submit(desk, "long")
    with caplog.at_level(logging.CRITICAL), engine(workspace):
        wait_for(lambda: len(lines(notes)) == 1 and left.exists())
        submit(desk, "short")
        wait_for(lambda: desk.runs.list("short")[0].life_cycle_state == "RUNNING")
        holder = desk.leases.holder(EXECUTOR) or ""
        wait_for(lambda: _takes_lease(desk, holder))
        gate.touch()
        # Its next write is refused: that is how it learns of it before the next renewal.
        wait_for(lambda: not is_at_work(left))
        assert desk.runs.get(run_id).life_cycle_state == "RUNNING"
        desk.leases.release(EXECUTOR, "another:1:x")
        wait_for(lambda: len([line for line in lines(notes) if line[3] == "begin"]) == 2)
        assert next(each.life_cycle_state for each in desk.runs.tasks(run_id)) == "INTERNAL_ERROR"
        cancel(desk, run_id)
        over(desk, run_id)


def test_a_run_whose_job_cannot_be_read_ends_and_holds_up_nobody(workspace: Workspace, desk: JobDesk) -> None:
    put_job(desk, Job("new", [Task("a", does())], max_concurrent_runs=2))
    put_job(desk, Job("old", [Task("a", does())]))
    queued, begun, good = submit(desk, "new"), submit(desk, "new"), submit(desk, "old")
    assert desk.leases.acquire(EXECUTOR, "me", 60)
    desk.execution("me").begin(begun, None)
    desk.leases.release(EXECUTOR, "me")
    with workspace.engine.begin() as connection:
        connection.execute(
            update(job_runs).where(job_runs.c.job == "new").values(settings={"name": "new", "tasks": [], "of_later": 1})
        )
    with engine(workspace):
        assert over(desk, good).result_state == "SUCCESS"
        for run_id, result in ((queued, "CANCELED"), (begun, "FAILED")):
            run = over(desk, run_id)
            assert (run.result_state, "its job can't be read: the job has a field 'of_later'" in run.state_message) == (
                result,
                True,
            )
    assert all(each.is_over for each in desk.runs.tasks(begun))


@pytest.mark.postgres
def test_jobs_are_executed_on_postgresql(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_DATABASE_URL", postgres.new_database())
    workspace = open_workspace(tmp_path / "home")
    desk, gate = workspace.jobs, tmp_path / "gate"
    put_job(
        desk,
        Job(
            "churn",
            [
                Task("a", does("fail_before=1", "output=n=7"), max_retries=1, min_retry_interval_millis=10),
                Task("b", ConditionTask("EQUAL_TO", "{{tasks.a.output.n}}", "7"), depends_on=["a"]),
                Task("c", does(f"until={gate}"), depends_on=[TaskDependency("b", "true")]),
            ],
        ),
    )
    first, second = submit(desk, "churn"), submit(desk, "churn")
    with engine(workspace), engine(workspace):
        wait_for(lambda: results(desk, first).get("b") == "SUCCESS")
    with engine(workspace):  # another, which goes on
        gate.touch()
        assert over(desk, first).result_state == "SUCCESS"
        wait_for(lambda: desk.runs.get(second).life_cycle_state != "QUEUED")
        assert over(desk, second).result_state == "SUCCESS"
    assert all(each.is_over and each.ended_at for each in desk.runs.tasks(first))
    workspace.close()


def _takes_lease(desk: JobDesk, holder: str) -> bool:
    """Whether another has the lease now: who held it may renew it between the two."""
    desk.leases.release(EXECUTOR, holder)
    return desk.leases.acquire(EXECUTOR, "another:1:x", 60)


def test_past_runs_go_with_their_logs_and_folders_and_young_ones_stay(workspace: Workspace, desk: JobDesk) -> None:
    put_job(desk, Job("a", [Task("one", does("say", "hello"))]))
    runs = [submit(desk, "a") for _ in range(4)]
    with engine(workspace):
        wait_for(lambda: all(desk.runs.get(run).is_over for run in runs))
    places = [workspace.home / "jobs", workspace.home / "logs" / "jobs"]
    assert all((place / str(run)).is_dir() for place in places for run in runs)
    with workspace.engine.begin() as connection:  # two of them two hours ago
        long_ago = job_runs.c.ended_us - 2 * 3_600 * 1_000_000
        connection.execute(update(job_runs).where(job_runs.c.id.in_(runs[:2])).values(ended_us=long_ago))
    with engine(workspace, kept_runs=1):
        wait_for(lambda: len(desk.runs.list("a")) == 2)
        last = submit(desk, "a")
        wait_for(lambda: desk.runs.get(last).is_over)
    assert [run.run_id for run in desk.runs.list("a")] == [last, runs[3], runs[2]]
    assert {each.name for place in places for each in place.iterdir()} == {str(run) for run in (*runs[2:], last)}


def test_a_run_with_a_parameter_that_means_nothing_fails_and_holds_up_nobody(
    workspace: Workspace, desk: JobDesk
) -> None:
    put_job(desk, Job("a", [Task("one", does("say={{job.parameters.day}}"))], parameters={"day": "today"}))
    bad, good = submit(desk, "a"), submit(desk, "a")
    with workspace.engine.begin() as connection:  # as it could be queued before that was refused
        connection.execute(update(job_runs).where(job_runs.c.id == bad).values(parameters={"day": "{{foo}}"}))
    with engine(workspace):
        wait_for(lambda: desk.runs.get(good).is_over)
    assert desk.runs.get(good).result_state == "SUCCESS"
    assert desk.runs.get(bad).result_state == "FAILED"
    assert "there is no such reference" in desk.runs.get(bad).state_message
