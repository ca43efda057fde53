"""Cancellation, time-outs, repair, and runs that call others."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.jobs.cancel import cancel, cancel_all
from millrace.jobs.job import Job, RunJobTask, Task
from millrace.jobs.job_run import RunId
from millrace.jobs.port import JobDesk
from millrace.jobs.put_job import put_job, put_jobs, remove_job
from millrace.jobs.repair import latest, repair
from millrace.jobs.submit import submit
from millrace.workspace import Workspace
from tests.integration.jobs.executing import does, engine, lines, over, results, wait_for

pytestmark = pytest.mark.slow


def test_a_canceled_run_ends_with_its_processes(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    put_job(
        desk,
        Job(
            "long",
            [Task("a", does(f"note={notes}", "sleep=600")), Task("b", does(), depends_on=["a"], run_if="ALL_DONE")],
        ),
    )
    first, second = submit(desk, "long"), submit(desk, "long")
    with engine(workspace):
        wait_for(lambda: len(lines(notes)) == 1)
        assert cancel(desk, first).life_cycle_state == "TERMINATING"
        run = over(desk, first)
        wait_for(lambda: len(lines(notes)) == 2)
        assert len(cancel_all(desk, "long")) == 1
        over(desk, second)
    assert run.result_state == "CANCELED"
    assert run.state_message.startswith("canceled by user:")
    assert results(desk, first) == {"a": "CANCELED", "b": "CANCELED"}
    with pytest.raises(InvalidState, match="has ended already: CANCELED"):
        cancel(desk, first)
    with pytest.raises(NotFound):
        cancel_all(desk, "lang")
    remove_job(desk, "long")
    assert len(desk.runs.list("long")) == 2


def test_a_run_has_a_time_out_of_its_own(workspace: Workspace, desk: JobDesk) -> None:
    put_job(desk, Job("long", [Task("a", does("sleep=600")), Task("b", does(), depends_on=["a"])], timeout_seconds=1))
    run_id = submit(desk, "long")
    with engine(workspace):
        run = over(desk, run_id)
    assert (run.result_state, run.state_message) == ("TIMEDOUT", "the run's time-out of 1 s is over")
    assert results(desk, run_id) == {"a": "CANCELED", "b": "CANCELED"}


def test_a_repair_runs_what_failed_and_what_depends_on_it_again_and_again(
    workspace: Workspace, desk: JobDesk, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    made = [
        Task("good", does(f"note={notes}", "output=rows=7")),
        Task("bad", does(f"note={notes}", "fail_before=2", "say={{tasks.good.output.rows}}"), depends_on=["good"]),
        Task("after", does(f"note={notes}"), depends_on=["bad"]),
        Task("aside", does(f"note={notes}")),
    ]
    put_job(desk, Job("fixable", made))
    run_id = submit(desk, "fixable")
    with engine(workspace):
        assert over(desk, run_id).result_state == "FAILED"
        assert results(desk, run_id)["after"] == "UPSTREAM_FAILED"
        with pytest.raises(NotFound, match="did you mean 'after'"):
            repair(desk, run_id, tasks=["aftr"])
        assert repair(desk, run_id).repairs == 1
        assert over(desk, run_id).result_state == "FAILED"
        assert repair(desk, run_id).life_cycle_state == "QUEUED"
        assert over(desk, run_id).result_state == "SUCCESS"
    assert desk.runs.get(run_id).repairs == 2
    begun = [line[1] for line in lines(notes) if line[3] == "begin"]
    assert {key: begun.count(key) for key in set(begun)} == {"good": 1, "bad": 3, "after": 1, "aside": 1}
    with pytest.raises(InvalidState, match="all tasks of run"):
        repair(desk, run_id)


def test_a_repair_takes_the_job_as_it_is_now(workspace: Workspace, desk: JobDesk) -> None:
    put_job(desk, Job("fixable", [Task("a", does()), Task("b", does("exit=1"), depends_on=["a"])]))
    run_id = submit(desk, "fixable")
    with engine(workspace):
        over(desk, run_id)
        put_job(desk, Job("fixable", [Task("a", does("exit=1")), Task("b", does(), depends_on=["a"])]))
        repair(desk, run_id)
        assert over(desk, run_id).result_state == "SUCCESS"


def test_a_repair_has_parameters_that_were_declared_since(workspace: Workspace, desk: JobDesk) -> None:
    put_job(desk, Job("fixable", [Task("a", does("exit=1"))], parameters={"day": "monday"}))
    run_id = submit(desk, "fixable", parameters={"day": "sunday"})
    with engine(workspace):
        over(desk, run_id)
        said = does("say={{job.parameters.day}} {{job.parameters.hour}}")
        put_job(desk, Job("fixable", [Task("a", said)], parameters={"day": "friday", "hour": "six"}))
        repair(desk, run_id)
        assert over(desk, run_id).result_state == "SUCCESS"
    assert desk.runs.get(run_id).parameters == {"day": "sunday", "hour": "six"}
    log = latest(desk.runs.tasks(run_id))["a"].log_path
    assert log is not None
    assert Path(log).read_text() == "sunday six\n"


def test_a_job_runs_another_and_waits_for_it_without_a_process(workspace: Workspace, desk: JobDesk) -> None:
    inner = Job("inner", [Task("a", does("say={{job.parameters.day}}"))], parameters={"day": "none"})
    outer = Job("outer", [Task("call", RunJobTask("inner", {"day": "{{job.run_id}}"}))])
    put_jobs(desk, [outer, inner])
    runs = [submit(desk, "outer") for _ in range(2)]
    with engine(workspace, parallel=1):
        for run_id in runs:
            assert over(desk, run_id).result_state == "SUCCESS"
    called = latest(desk.runs.tasks(runs[0]))["call"]
    run = desk.runs.get(RunId(int(str(called.output["run_id"]))))
    assert (run.job, run.trigger, run.caller, run.parameters) == (
        "inner",
        "RUN_JOB_TASK",
        called.task_run_id,
        {"day": str(runs[0])},
    )


def test_a_called_run_that_fails_is_skipped_or_takes_too_long_fails_who_called(
    workspace: Workspace, desk: JobDesk, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    put_jobs(
        desk,
        [
            Job("inner", [Task("a", does("exit=1"))]),
            Job("busy", [Task("a", does(f"until={gate}"))], queue=False),
            Job("endless", [Task("a", does("sleep=600"))]),
            Job("fails", [Task("call", RunJobTask("inner"))]),
            Job("skipped", [Task("call", RunJobTask("busy"))]),
            Job("late", [Task("call", RunJobTask("endless"), timeout_seconds=1)]),
        ],
    )
    busy = submit(desk, "busy")
    with engine(workspace):
        fails, skipped, late = (submit(desk, name) for name in ("fails", "skipped", "late"))
        assert "of job 'inner' ended as FAILED: task 'a'" in over(desk, fails).state_message
        assert "of job 'busy' ended as SKIPPED" in over(desk, skipped).state_message
        assert "timed out after 1 s" in over(desk, late).state_message
        assert over(desk, desk.runs.list("endless")[0].run_id).result_state == "CANCELED"
        gate.touch()
        assert over(desk, busy).result_state == "SUCCESS"


def test_a_job_that_runs_itself_over_others_is_refused_when_it_is_put_and_when_it_runs(
    workspace: Workspace, desk: JobDesk
) -> None:
    put_jobs(desk, [Job("a", [Task("call", RunJobTask("b"))]), Job("b", [Task("work", does())])])
    circle = Job("b", [Task("call", RunJobTask("a"))])
    with pytest.raises(InvalidInput, match=r"runs itself: [ab] -> "):
        put_job(desk, circle)
    desk.jobs.put(circle)  # as if it had come another way
    run_id = submit(desk, "a")
    with engine(workspace):
        assert "waits for this run itself: a -> b -> a" in over(desk, run_id).state_message


def test_canceling_a_run_cancels_what_it_called(workspace: Workspace, desk: JobDesk) -> None:
    put_jobs(desk, [Job("outer", [Task("call", RunJobTask("inner"))]), Job("inner", [Task("a", does("sleep=600"))])])
    run_id = submit(desk, "outer")
    with engine(workspace):
        wait_for(lambda: [run.life_cycle_state for run in desk.runs.list("inner")] == ["RUNNING"])
        cancel(desk, run_id)
        assert over(desk, run_id).result_state == "CANCELED"
        assert over(desk, desk.runs.list("inner")[0].run_id).result_state == "CANCELED"


def test_canceling_a_run_while_nothing_executes_cancels_what_it_called(
    workspace: Workspace, desk: JobDesk, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    put_jobs(
        desk, [Job("outer", [Task("call", RunJobTask("inner"))]), Job("inner", [Task("a", does(f"until={gate}"))])]
    )
    run_id = submit(desk, "outer")
    with engine(workspace):
        wait_for(lambda: [run.life_cycle_state for run in desk.runs.list("inner")] == ["RUNNING"])
    cancel(desk, run_id)
    gate.touch()  # so that one that goes on would succeed
    with engine(workspace):
        assert over(desk, run_id).result_state == "CANCELED"
        inner = over(desk, desk.runs.list("inner")[0].run_id)
    assert (inner.result_state, results(desk, run_id)) == ("CANCELED", {"call": "CANCELED"})
    assert inner.state_message == f"run {run_id}, which waited for it, was stopped"
