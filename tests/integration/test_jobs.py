"""Jobs are executed: real processes, a real database, an engine in a thread of the test."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import update

from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.database.schema import job_runs, task_runs
from millrace.jobs.cancel import cancel, cancel_all
from millrace.jobs.engine.engine import Engine
from millrace.jobs.job import ConditionTask, Job, RunJobTask, SparkPythonTask, Task, TaskDependency, Work
from millrace.jobs.job_run import JobRun, RunId
from millrace.jobs.port import EXECUTOR, JobDesk
from millrace.jobs.put_job import put_job, put_jobs, remove_job
from millrace.jobs.repair import latest, repair
from millrace.jobs.submit import submit
from millrace.testing.postgres import PostgresServer
from millrace.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

PROGRAM = [sys.executable, "-I", "-S", str(Path(__file__).with_name("job_program.py"))]
_PATIENCE_S = 60.0


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = open_workspace(tmp_path / "home")
    yield workspace
    workspace.close()


@pytest.fixture
def desk(workspace: Workspace) -> JobDesk:
    return workspace.jobs


def does(*parameters: str) -> Work:
    return SparkPythonTask("program.py", parameters)


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not what():
        assert time.monotonic() < until, "that did not come"
        time.sleep(0.02)


@contextmanager
def engine(workspace: Workspace, *, parallel: int = 4, grace_s: float = 5.0, kept_runs: int = 1_000) -> Iterator[None]:
    stop = threading.Event()
    one = Engine(workspace.jobs, workspace.home, PROGRAM, parallel=parallel, grace_s=grace_s, kept_runs=kept_runs)
    thread = threading.Thread(target=one.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_PATIENCE_S)
        assert not thread.is_alive()


def over(desk: JobDesk, run_id: RunId) -> JobRun:
    wait_for(lambda: desk.runs.get(run_id).is_over)
    return desk.runs.get(run_id)


def results(desk: JobDesk, run_id: RunId) -> Mapping[str, object]:
    return {key: each.result_state for key, each in latest(desk.runs.tasks(run_id)).items()}


def lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_tasks_run_in_their_order_and_tell_each_other(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    put_job(
        desk,
        Job(
            "churn",
            [
                Task("load", does(f"note={tmp_path / 'notes'}", "output=rows=7", "say=loading {{job.parameters.day}}")),
                Task("enough", ConditionTask("GREATER_THAN", "{{tasks.load.output.rows}}", "6.5"), depends_on=["load"]),
                Task("train", does(f"note={tmp_path / 'notes'}"), depends_on=[TaskDependency("enough", "true")]),
                Task("tell", does(f"note={tmp_path / 'notes'}"), depends_on=[TaskDependency("enough", "false")]),
                Task("end", does(f"note={tmp_path / 'notes'}"), depends_on=["train", "tell"], run_if="NONE_FAILED"),
            ],
            parameters={"day": "{{job.trigger.time.iso_date}}"},
        ),
    )
    run_id = submit(desk, "churn", parameters={"day": "monday"})
    with engine(workspace):
        run = over(desk, run_id)
    assert (run.result_state, run.state_message) == ("SUCCESS", "")
    assert results(desk, run_id) == {
        "load": "SUCCESS",
        "enough": "SUCCESS",
        "train": "SUCCESS",
        "tell": "EXCLUDED",
        "end": "SUCCESS",
    }
    assert [(line[1], line[3]) for line in lines(tmp_path / "notes")] == [
        (key, what) for key in ("load", "train", "end") for what in ("begin", "end")
    ]
    log = latest(desk.runs.tasks(run_id))["load"].log_path
    assert log is not None
    assert Path(log).is_relative_to(workspace.home / "logs" / "jobs")
    assert Path(log).read_text() == "loading monday\n"


def test_tasks_run_beside_each_other_but_not_more_than_may(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    work = does(f"note={notes}", f"until={gate}", "sleep=0.3")
    put_job(desk, Job("wide", [Task(f"t{n}", work) for n in range(5)]))
    run_id = submit(desk, "wide")
    with engine(workspace, parallel=2):
        wait_for(lambda: len(lines(notes)) >= 2)
        gate.touch()
        assert over(desk, run_id).result_state == "SUCCESS"
    going = peak = 0
    for line in lines(notes):
        going += 1 if line[3] == "begin" else -1
        peak = max(peak, going)
    assert peak == 2


def test_what_fails_is_tried_again_with_growing_pauses(workspace: Workspace, desk: JobDesk) -> None:
    put_job(
        desk,
        Job(
            "flaky",
            [
                Task("third", does("fail_before=2"), max_retries=2, min_retry_interval_millis=200),
                Task("never", does("fail_before=9"), max_retries=1, min_retry_interval_millis=1),
                Task("endless", does("fail_before=3"), max_retries=-1, min_retry_interval_millis=1),
                Task("refused", does("refuse=AUC 0.6 is below 0.8"), max_retries=5, min_retry_interval_millis=1),
            ],
        ),
    )
    run_id = submit(desk, "flaky")
    with engine(workspace):
        run = over(desk, run_id)
    assert run.result_state == "FAILED"
    assert run.state_message == "task 'never' (and 1 more): ended with code 3: not yet"
    assert results(desk, run_id) == {"third": "SUCCESS", "never": "FAILED", "endless": "SUCCESS", "refused": "FAILED"}
    by_key: dict[str, list[float]] = {}
    for each in desk.runs.tasks(run_id):
        assert each.started_at is not None
        by_key.setdefault(each.task_key, []).append(each.started_at.timestamp())
    assert {key: len(times) for key, times in by_key.items()} == {"third": 3, "never": 2, "endless": 4, "refused": 1}
    first, second, third = by_key["third"]
    assert second - first >= 0.2
    assert third - second >= 0.4
    assert latest(desk.runs.tasks(run_id))["refused"].state_message == "AUC 0.6 is below 0.8"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["raise=no rows in bronze.sales"], "no rows in bronze.sales"),
        (["say=a line", "exit=4"], "ended with code 4: a line"),
        (["exit=0"], "ended without an outcome"),
        (["kill=9"], "killed by SIGKILL"),
    ],
)
def test_a_failure_says_why(workspace: Workspace, desk: JobDesk, parameters: list[str], message: str) -> None:
    put_job(desk, Job("bad", [Task("a", does(*parameters))]))
    run_id = submit(desk, "bad")
    with engine(workspace):
        assert over(desk, run_id).state_message == f"task 'a': {message}"


def test_a_program_that_is_not_there_and_a_value_that_was_not_set_are_failures(
    workspace: Workspace, desk: JobDesk
) -> None:
    put_job(
        desk,
        Job("bad", [Task("a", does()), Task("b", does("say={{tasks.a.values.n}}"), depends_on=["a"], max_retries=9)]),
    )
    run_id = submit(desk, "bad")
    with engine(workspace):
        assert "there is no value 'n' set by task 'a'" in over(desk, run_id).state_message
    assert len(desk.runs.tasks(run_id)) == 2
    put_job(desk, Job("worse", [Task("a", does())]))
    run_id = submit(desk, "worse")
    Engine(desk, workspace.home, ["/nowhere/python"]).run(threading.Event(), lambda: desk.runs.get(run_id).is_over)
    assert "/nowhere/python can't be started" in desk.runs.get(run_id).state_message


def test_a_time_out_ends_all_processes_of_the_attempt(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    for timeout_s in (1, 5, 25):  # the first may be over before there is anything to end
        left = tmp_path / f"left-{timeout_s}"
        work = does("deaf", f"leave={left}", "sleep=60")
        put_job(desk, Job("hangs", [Task("slow", work, timeout_seconds=timeout_s, max_retries=3)]))
        run_id = submit(desk, "hangs")
        with engine(workspace, grace_s=0.3):
            run = over(desk, run_id)
            assert not _is_at_work(left)
        assert run.state_message == f"task 'slow': timed out after {timeout_s} s"
        assert [each.result_state for each in desk.runs.tasks(run_id)] == ["TIMEDOUT"]
        if left.exists() and left.stat().st_size > 0:
            return
    pytest.fail("there was never anything to end")


def test_a_time_out_is_tried_again_where_the_task_says_so(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    task = Task("slow", does(f"until={gate}"), timeout_seconds=1, max_retries=3, retry_on_timeout=True)
    put_job(desk, Job("hangs", [task]))
    run_id = submit(desk, "hangs")
    with engine(workspace):
        wait_for(lambda: len(desk.runs.tasks(run_id)) == 2)
        gate.touch()
        assert over(desk, run_id).result_state == "SUCCESS"
    assert next(each.result_state for each in desk.runs.tasks(run_id)) == "TIMEDOUT"


def test_what_a_task_leaves_behind_does_not_outlive_it(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    left = tmp_path / "left"
    put_job(desk, Job("daemon", [Task("a", does(f"leave={left}", f"until={left}"))]))
    with engine(workspace):
        assert over(desk, submit(desk, "daemon")).result_state == "SUCCESS"
        assert not _is_at_work(left)


def test_runs_of_a_job_wait_for_each_other_and_go_in_order(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    put_job(desk, Job("one", [Task("a", does(f"note={notes}", f"until={gate}", "sleep=0.1"))]))
    put_job(desk, Job("other", [Task("b", does(f"note={notes}"))]))
    made = [submit(desk, "one", token=str(number)) for number in range(3)]
    other = submit(desk, "other")
    with engine(workspace):
        over(desk, other)  # a long queue of one job holds up nobody else
        gate.touch()
        for run_id in made:
            over(desk, run_id)
    found = [line for line in lines(notes) if line[1] == "a"]
    assert [(int(line[0]), line[3]) for line in found] == [(run, what) for run in made for what in ("begin", "end")]


def test_a_canceled_run_ends_with_its_processes(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    put_job(
        desk,
        Job(
            "long",
            [Task("a", does(f"note={notes}", "sleep=60")), Task("b", does(), depends_on=["a"], run_if="ALL_DONE")],
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
    put_job(desk, Job("long", [Task("a", does("sleep=60")), Task("b", does(), depends_on=["a"])], timeout_seconds=1))
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


def test_what_the_system_would_not_start_is_tried_again(workspace: Workspace, desk: JobDesk) -> None:
    """A file where the attempt's folder should be stands for all that passes: no process or no memory left, a full disk."""
    put_job(desk, Job("flaky", [Task("a", does(), max_retries=1, min_retry_interval_millis=1)]))
    put_job(desk, Job("once", [Task("a", does())]))
    runs = [submit(desk, name) for name in ("flaky", "once")]
    for run_id in runs:
        (workspace.home / "jobs" / str(run_id)).mkdir(parents=True)
        (workspace.home / "jobs" / str(run_id) / "a.0").touch()
    with engine(workspace):
        assert [over(desk, run_id).result_state for run_id in runs] == ["SUCCESS", "FAILED"]
    assert [each.result_state for each in desk.runs.tasks(runs[0])] == ["FAILED", "SUCCESS"]
    assert "File exists" in desk.runs.get(runs[1]).state_message


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
            Job("endless", [Task("a", does("sleep=60"))]),
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
    put_jobs(desk, [Job("outer", [Task("call", RunJobTask("inner"))]), Job("inner", [Task("a", does("sleep=60"))])])
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
    flaky = Task("a", does("fail_before=9"), max_retries=2, min_retry_interval_millis=15_000)
    put_jobs(desk, [Job("flaky", [flaky]), Job("long", [Task("a", does("sleep=60"))], timeout_seconds=2)])
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
        first = desk.leases.holder(EXECUTOR)
        with engine(workspace):
            for run_id in [submit(desk, "many") for _ in range(4)]:
                over(desk, run_id)
    assert desk.leases.holder(EXECUTOR) is None
    assert first != ""
    assert len([line for line in lines(notes) if line[3] == "begin"]) == 4


def test_an_engine_whose_lease_was_taken_ends_its_attempts(
    workspace: Workspace, desk: JobDesk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes, left, gate = tmp_path / "notes", tmp_path / "left", tmp_path / "gate"
    put_job(
        desk,
        Job(
            "long", [Task("a", does(f"note={notes}", f"leave={left}", "sleep=60")), Task("b", does(), depends_on=["a"])]
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
        wait_for(lambda: not _is_at_work(left))
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


def _is_at_work(left: Path) -> bool:
    """Whether there is a process that writes to a file, which it was started with."""
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return str(left) in listed


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
