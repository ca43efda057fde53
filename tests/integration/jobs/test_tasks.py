"""What tasks of a run come to: real processes, a real database, an engine in a thread of the test."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from millrace.jobs.engine.engine import Engine
from millrace.jobs.job import ConditionTask, Job, Task, TaskDependency
from millrace.jobs.port import JobDesk
from millrace.jobs.put_job import put_job
from millrace.jobs.repair import latest
from millrace.jobs.submit import submit
from millrace.workspace import Workspace
from tests.integration.jobs.executing import does, engine, is_at_work, lines, over, results, wait_for

pytestmark = pytest.mark.slow


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
        work = does("deaf", f"leave={left}", "sleep=600")
        put_job(desk, Job("hangs", [Task("slow", work, timeout_seconds=timeout_s, max_retries=3)]))
        run_id = submit(desk, "hangs")
        with engine(workspace, grace_s=0.3):
            run = over(desk, run_id)
            assert not is_at_work(left)
        assert run.state_message == f"task 'slow': timed out after {timeout_s} s"
        assert [each.result_state for each in desk.runs.tasks(run_id)] == ["TIMEDOUT"]
        if left.exists() and left.stat().st_size > 0:
            return
    pytest.fail("there was never anything to end")


def test_a_time_out_is_tried_again_where_the_task_says_so(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    # As often as it takes, where a process does not even begin within a second.
    task = Task("slow", does(f"until={gate}"), timeout_seconds=1, max_retries=-1, retry_on_timeout=True)
    put_job(desk, Job("hangs", [task]))
    run_id = submit(desk, "hangs")
    with engine(workspace):
        wait_for(lambda: len(desk.runs.tasks(run_id)) >= 2)
        gate.touch()
        assert over(desk, run_id).result_state == "SUCCESS"
    assert next(each.result_state for each in desk.runs.tasks(run_id)) == "TIMEDOUT"


def test_what_a_task_leaves_behind_does_not_outlive_it(workspace: Workspace, desk: JobDesk, tmp_path: Path) -> None:
    left = tmp_path / "left"
    put_job(desk, Job("daemon", [Task("a", does(f"leave={left}", f"until={left}"))]))
    with engine(workspace):
        assert over(desk, submit(desk, "daemon")).result_state == "SUCCESS"
        assert not is_at_work(left)


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
