from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from millrace.core.errors import InvalidInput
from millrace.jobs.port import EXECUTOR, Ended
from millrace.jobs.submit import submit
from millrace.workspace import open_workspace
from tests.unit.cli.conftest import Cli

PAGE = """
import millrace as mr

nightly = mr.Job(
    "nightly",
    [
        mr.Task("count", mr.SqlTask("SELECT :day AS day", parameters={"day": "{{job.parameters.day}}"}), max_retries=2),
        mr.Task("any", mr.ConditionTask("GREATER_THAN", "{{tasks.count.output.rows}}", "0"), depends_on=["count"]),
        mr.Task("tell", mr.AlertTask(), depends_on=[mr.TaskDependency("any", "true")], timeout_seconds=60),
    ],
    schedule=mr.CronSchedule("0 0 6 * * ?", timezone_id="Europe/Berlin"),
    parameters={"day": "2025-03-01"},
)
on_demand = mr.Job("on_demand", [mr.Task("run", mr.RunJobTask("nightly"))])
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "jobs.py"
    file.write_text(PAGE)
    return file


@pytest.fixture
def applied(cli: Cli, page: Path) -> Cli:
    assert cli("job", "apply", page).code == 0
    return cli


def changes(cli: Cli, page: Path, *more: str) -> dict[str, str]:
    return {each["name"]: each["change"] for each in cli("job", "apply", page, "--json", *more).json()["jobs"]}


def test_applying_a_file_says_what_became_of_each_job(cli: Cli, page: Path) -> None:
    assert changes(cli, page) == {"nightly": "created", "on_demand": "created"}
    assert changes(cli, page) == {"nightly": "unchanged", "on_demand": "unchanged"}
    page.write_text(PAGE.replace("0 0 6", "0 30 7"))
    assert changes(cli, page) == {"nightly": "changed", "on_demand": "unchanged"}
    assert "at 07:30 every day (Europe/Berlin)" in cli("job", "list").out


def test_a_job_that_left_its_file_is_deleted_only_where_that_was_asked_for(applied: Cli, page: Path) -> None:
    page.write_text(PAGE.partition("on_demand")[0])
    said = applied("job", "apply", page).out
    assert "unchanged  nightly" in said
    assert "left       on_demand: the file does not declare it any more; --prune deletes it" in said
    assert changes(applied, page, "--prune") == {"nightly": "unchanged", "on_demand": "deleted"}
    assert [each["settings"]["name"] for each in applied("job", "list", "--json").json()["jobs"]] == ["nightly"]


def test_nothing_is_applied_where_one_job_is_wrong(cli: Cli, page: Path) -> None:
    page.write_text(PAGE + '\nlast = mr.Job("last", [mr.Task("a", mr.RunJobTask("nightli"))])\n')
    assert "job 'last' runs 'nightli', which there is not" in cli("job", "apply", page).refused()
    assert cli("job", "list", "--json").json() == {"jobs": []}


@pytest.mark.parametrize(
    ("declared", "said", "hint"),
    [
        (
            'mr.Job("n", [mr.Task("a", ask, depends_on=["b"]), mr.Task("b", ask, depends_on=["a"])])',
            "task 'a' of job 'n' depends on itself: a -> b -> a",
            "take one depends_on out",
        ),
        ('mr.Job("n", [mr.Task("a", ask, depends_on=["a"])])', "depends on itself: a -> a", "depends_on"),
        ('mr.Job("n", [mr.Task("a", ask)], schedule=mr.CronSchedule("0 0 6 31 2 ?"))', "0 0 6 31 2 ?", ""),
        ('mr.Job("n", [mr.Task("a", ask)], schedule=mr.CronSchedule("0 6 * * *"))', "0 6 * * *", "0 0 6 * * ?"),
        (
            'mr.Job("n", [mr.Task("a", ask)], schedule=mr.CronSchedule("0 0 6 * * ?", "Europe/Berlni"))',
            "Europe/Berlni",
            "Europe/Berlin",
        ),
        ('mr.Job("n", [mr.Task("a", ask, depends_on=["c"])])', "task 'a' depends on 'c', which there is not", ""),
        ('mr.Job("n", [mr.Task("a", mr.SqlTask("SELECT {{job.parameters.d}}"))])', "no parameter 'd'", ""),
    ],
)
def test_a_job_that_can_not_run_is_refused_with_what_is_wrong(
    cli: Cli, page: Path, declared: str, said: str, hint: str
) -> None:
    page.write_text(f'import millrace as mr\nask = mr.SqlTask("SELECT 1")\njob = {declared}\n')
    refused = cli("job", "apply", page).refused()
    assert said in refused
    assert hint in refused


def test_a_job_is_shown_with_its_graph_and_when_it_runs_next(applied: Cli) -> None:
    said = applied("job", "show", "nightly").out
    assert "at 06:00 every day (Europe/Berlin)" in said
    assert "└─ any" in said
    assert "   └─ tell" in said
    assert "if any is true" in said
    shown = applied("job", "show", "nightly", "--json").json()
    assert len(shown["next"]) == 3
    assert shown["next"] == sorted(shown["next"])
    assert shown["runs"] == []
    assert shown["settings"]["schedule"]["timezone_id"] == "Europe/Berlin"


def test_a_run_that_nobody_executes_says_so_and_can_be_canceled(applied: Cli) -> None:
    said = applied("job", "run", "nightly", "--no-wait", "--param", "day=2025-04-01").out
    assert "nothing executes it until `millrace up` runs" in said
    (run,) = applied("job", "runs", "nightly", "--json").json()["runs"]
    assert run["parameters"] == {"day": "2025-04-01"}
    assert run["state"]["life_cycle_state"] == "QUEUED"
    assert "has 3 tasks" in applied("job", "logs", run["run_id"]).refused(2)
    assert "has not begun" in applied("job", "logs", run["run_id"], "count").refused()
    assert "has no task 'conut'" in applied("job", "logs", run["run_id"], "conut").refused()
    assert "has runs" not in applied("job", "cancel", "nightly").out
    assert "has ended already: CANCELED" in applied("job", "cancel", run["run_id"]).refused()
    assert "CANCELED" in applied("job", "show", run["run_id"]).out


def test_asking_twice_under_one_token_makes_one_run(applied: Cli) -> None:
    first = applied("job", "run", "nightly", "--no-wait", "--token", "t", "--json").json()
    assert applied("job", "run", "nightly", "--no-wait", "--token", "t", "--json").json()["run_id"] == first["run_id"]
    assert first["executed"] is False


def test_a_paused_job_has_no_next_fire_and_stays_paused_when_its_file_is_applied(applied: Cli, page: Path) -> None:
    assert "nightly is paused" in applied("job", "pause", "nightly").out
    page.write_text(PAGE.replace("0 0 6", "0 30 7"))
    assert "it is paused: millrace job resume nightly" in applied("job", "apply", page).out
    shown = applied("job", "show", "nightly", "--json").json()
    assert (shown["next"], shown["settings"]["schedule"]["pause_status"]) == ([], "PAUSED")
    assert "runs by itself again" in applied("job", "resume", "nightly").out
    assert len(applied("job", "show", "nightly", "--json").json()["next"]) == 3
    assert "has no schedule and no trigger" in applied("job", "pause", "on_demand").refused()


def test_a_job_that_has_runs_on_their_way_is_not_deleted(applied: Cli) -> None:
    applied("job", "run", "nightly", "--no-wait")
    assert "has not ended" in applied("job", "delete", "nightly").refused()
    applied("job", "cancel", "nightly", "--all")
    assert "job nightly is deleted" in applied("job", "delete", "nightly").out
    assert "there is no job 'nightly'" in applied("job", "show", "nightly").refused()
    assert len(applied("job", "runs", "--json").json()["runs"]) == 1


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["show", "nightyl"], 1, "did you mean 'nightly'?"),
        (["run", "nightyl"], 1, "did you mean 'nightly'?"),
        (["run", "nightly", "--param", "dya=1"], 2, "did you mean 'day'?"),
        (["run", "nightly", "--param", "day"], 2, "--param day is not NAME=VALUE"),
        (["show", "77"], 1, "there is no run 77"),
        (["logs", "nightly"], 1, "job 'nightly' has no runs yet"),
        (["repair", "77"], 1, "there is no run 77"),
        (["cancel", "nightly"], 1, "job 'nightly' has no runs yet"),
        (["runs", "nightyl"], 1, "did you mean 'nightly'?"),
        (["runs", "--limit", "0"], 2, "--limit is 0"),
        (["apply", "nothing.py"], 1, "there is no file nothing.py"),
        (["delete", "nightyl"], 1, "did you mean 'nightly'?"),
    ],
)
def test_what_is_mistyped_is_refused_with_what_was_meant(
    applied: Cli, command: list[str], code: int, said: str
) -> None:
    assert said in applied("job", *command).refused(code)


def test_a_home_without_jobs_says_how_to_make_some(cli: Cli, tmp_path: Path) -> None:
    empty = tmp_path / "page.py"
    empty.write_text(
        "import millrace as mr\n"
        "churn = mr.Pipeline(name='churn', label=mr.Label('l.t', 'y', ('id',), 'at'), candidates=[mr.Linear()], gates=[],"
        " lookups=[mr.FeatureLookup('f.t', lookup_key='id')])\n"
    )
    assert "declares no job, and no schedule" in cli("job", "apply", empty).out
    assert "there are no jobs yet" in cli("job", "list").out
    assert "nothing has run yet" in cli("job", "runs").out
    assert json.loads(cli("job", "runs", "--json").out) == {"runs": []}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("day={{foo}}", "parameter 'day' has {{foo}}: there is no such reference"),
        ("day={{tasks.count.output.rows}}", "there is no such reference"),
        ("day=\udcff", "is not UTF-8"),
    ],
)
def test_a_parameter_that_no_run_could_begin_with_is_refused(applied: Cli, given: str, message: str) -> None:
    assert message in applied("job", "run", "nightly", "--no-wait", "--param", given).refused(2)
    assert applied("job", "runs", "nightly", "--json").json()["runs"] == []


@pytest.mark.parametrize(
    ("given", "what"), [({"token": "\udcff"}, "the token"), ({"parameters": {"day": "\udcff"}}, "parameter 'day'")]
)
@pytest.mark.usefixtures("applied")
def test_what_can_not_be_written_down_is_refused(home: Path, given: dict[str, Any], what: str) -> None:
    """As JSON may have it; of a command line it is refused before."""
    with closing(open_workspace(home)) as workspace, pytest.raises(InvalidInput, match=f"{what} is .*no text in UTF-8"):
        submit(workspace.jobs, "nightly", **given)


def test_canceling_a_run_that_had_begun_says_where_nothing_ends_it(applied: Cli, home: Path) -> None:
    run = applied("job", "run", "nightly", "--no-wait", "--json").json()["run_id"]
    with closing(open_workspace(home)) as workspace:  # an executor that began it and is gone
        leases = workspace.jobs.leases
        assert leases.acquire(EXECUTOR, "gone", 60)
        workspace.jobs.execution("gone").begin(run, None)
        leases.release(EXECUTOR, "gone")
    said = applied("job", "cancel", run).out
    assert "is being canceled" in said
    assert f"nothing executes it until `millrace up` runs, or somebody waits: millrace job wait {run}" in said


HANDLED = """
import millrace as mr

def same(key, left, **more):
    return mr.Task(key, mr.ConditionTask("EQUAL_TO", left, "1"), **more)

first, bad = same("first", "1"), same("bad", "{{tasks.first.values.n}}", depends_on=["first"])
handled = mr.Job("handled", [first, bad, same("after", "1", depends_on=["bad"], run_if="ALL_DONE")])
fails = mr.Job("fails", [first, bad])
"""


def test_a_repair_is_proposed_where_the_run_failed_and_not_where_a_later_task_took_care_of_that(
    cli: Cli, page: Path
) -> None:
    page.write_text(HANDLED)
    cli("job", "apply", page)
    handled, fails = cli("job", "run", "handled"), cli("job", "run", "fails")
    assert (handled.code, fails.code) == (0, 1)
    for said in (handled, fails):
        assert "there is no value 'n' set by task 'first'" in said.out + said.err
    assert "repair" not in handled.out
    assert "millrace job repair" in fails.out


def test_following_a_task_that_has_not_begun_waits_for_what_it_writes(applied: Cli, home: Path) -> None:
    run = applied("job", "run", "nightly", "--no-wait", "--json").json()["run_id"]
    log = home / "count.log"
    log.write_text("hello\n")
    with closing(open_workspace(home)) as workspace:
        assert workspace.jobs.leases.acquire(EXECUTOR, "test", 60)
        execution = workspace.jobs.execution("test")
        execution.begin(run, None)
        count = workspace.jobs.runs.tasks(run)[0].task_run_id

        def go_on() -> None:
            execution.start_task(count, None, str(log))
            execution.end_task(count, Ended("SUCCESS"))

        later = threading.Timer(1.0, go_on)
        later.start()
        assert applied("job", "logs", run, "count", "--follow").out == "hello\n"
        later.join()
