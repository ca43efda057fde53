"""The program of an attempt, as the executor starts it: what it does for each kind of work, and what it says of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millrace as mr
from millrace.alerts.condition import Condition
from millrace.alerts.evaluate_all import change
from millrace.alerts.types import METRIC, AlertRule
from millrace.api.discovery import running_server
from millrace.jobs.attempt_files import TaskFailure, read_outcome, write_attempt
from millrace.jobs.job import Work
from millrace.jobs.job_run import RunId, TaskContext, TaskOutcome
from millrace.jobs.put_job import put_job
from millrace.jobs.submit import submit
from millrace.workspace import Workspace, open_workspace
from tests.integration.test_pipeline_run import NOW, PAGE, START, WEEK, purchases_between

pytestmark = pytest.mark.slow


@dataclass
class Attempts:
    """A home, and attempts of a run in it."""

    root: Path
    workspace: Workspace
    run_id: RunId
    numbers: Iterator[int]

    def start(
        self, work: Work, key: str = "task", job_folder: str | None = None
    ) -> tuple[Path, subprocess.Popen[bytes]]:
        folder = self.root / "attempts" / f"{key}.{next(self.numbers)}"
        context = TaskContext(
            home=str(self.workspace.home),
            folder=str(self.root) if job_folder is None else job_folder,
            artifacts=str(folder),
            job="nightly",
            run_id=self.run_id,
            task_run_id=RunId(self.run_id + 1),
            task_key=key,
            attempt=0,
            trigger="ONE_TIME",
            due=None,
            parameters={"day": "2025-03-01"},
        )
        command = [sys.executable, "-m", "millrace.tasks.attempt", str(write_attempt(context, work))]
        with (folder / "log").open("w") as log:
            return folder, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)

    def do(
        self, work: Work, key: str = "task", job_folder: str | None = None
    ) -> tuple[int, str, TaskOutcome | TaskFailure | None]:
        """Exit code, log and outcome."""
        folder, process = self.start(work, key, job_folder)
        code = process.wait(timeout=200)
        return code, (folder / "log").read_text(), read_outcome(folder)

    def write(self, name: str, text: str) -> str:
        (self.root / name).write_text(text)
        return name


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempts]:
    root = tmp_path_factory.mktemp("tasks")
    workspace = open_workspace(root / "home")
    workspace.clock.set(NOW)
    desk = workspace.jobs
    put_job(desk, mr.Job("nightly", [mr.Task("task", mr.SqlTask("SELECT 1"))], parameters={"day": ""}))
    rows = pa.table({"name": ["Ana", "x' OR 1=1 --"], "age": pa.array([30, 40], pa.int64())})
    workspace.lake.create("ml.m.people", rows.schema)
    workspace.lake.append("ml.m.people", rows)
    yield Attempts(root, workspace, submit(desk, "nightly"), count())
    workspace.close()


def test_a_query_keeps_its_rows_and_shows_the_first_of_them(attempts: Attempts) -> None:
    work = mr.SqlTask("SELECT name, age FROM ml.m.people WHERE name = :who", parameters={"who": "x' OR 1=1 --"})
    code, said, outcome = attempts.do(work)
    assert (code, isinstance(outcome, TaskOutcome)) == (0, True), said
    assert isinstance(outcome, TaskOutcome)
    assert outcome.output["rows"] == 1
    assert outcome.output["first_row"] == {"name": "x' OR 1=1 --", "age": 40}
    assert pq.read_table(str(outcome.output["result"])).to_pylist() == [{"name": "x' OR 1=1 --", "age": 40}]
    assert "name          age\n------------  ---\nx' OR 1=1 --  40\n" in said


def test_a_query_may_be_in_a_file_and_a_wrong_one_says_why(attempts: Attempts) -> None:
    file = attempts.write("ask.sql", "SELECT nme FROM ml.m.people")
    code, said, outcome = attempts.do(mr.SqlTask(file=file))
    assert code == 1
    assert isinstance(outcome, TaskFailure)
    assert 'Referenced column "nme" not found' in outcome.message
    assert "error: the query can't be run" in said
    attempts.write("ask.sql", "SELECT name FROM ml.m.people")
    assert attempts.do(mr.SqlTask(file=file))[0] == 0


def test_a_program_gets_arguments_parameters_and_values_and_gives_values(attempts: Attempts) -> None:
    attempts.workspace.jobs.values.set(attempts.run_id, "before", "rows", 3)
    file = attempts.write(
        "program.py",
        "import os, sys\nimport millrace as mr\n"
        "print(sys.argv[1:], mr.task_parameters(), os.environ['MILLRACE_HOME'])\n"
        "mr.task_values.set('twice', 2 * mr.task_values.get('before', 'rows'))\n",
    )
    code, said, outcome = attempts.do(mr.SparkPythonTask(file, ("--fast", "a b")), key="program")
    assert (code, outcome) == (0, TaskOutcome({"exit_code": 0})), said
    assert f"['--fast', 'a b'] {{'day': '2025-03-01'}} {attempts.workspace.home}" in said
    assert attempts.workspace.jobs.values.of(attempts.run_id)["program"] == {"twice": 6}


def test_a_program_of_a_job_without_a_folder_runs_in_the_attempts_own(attempts: Attempts) -> None:
    file = attempts.root / attempts.write("alone.py", "import os\nprint('in', os.getcwd())\n")
    code, said, _ = attempts.do(mr.SparkPythonTask(str(file)), key="alone", job_folder="")
    assert code == 0, said
    assert f"in {attempts.root / 'attempts' / 'alone.'}" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError('no rows')", "broken.py ended with exit code 1: ValueError: no rows"),
        ("import sys; sys.exit('nothing to do')", "broken.py ended with exit code 1: nothing to do"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "broken.py was ended by SIGSEGV"),
        ("import subprocess, sys; subprocess.Popen(['sleep', '30']); sys.exit(4)", "broken.py ended with exit code 4"),
    ],
)
def test_a_program_that_fails_says_how_and_its_last_words(attempts: Attempts, text: str, message: str) -> None:
    code, said, outcome = attempts.do(mr.SparkPythonTask(attempts.write("broken.py", text)))
    assert code == 1
    assert isinstance(outcome, TaskFailure)
    assert outcome.message == message
    assert message in said


def test_a_file_that_is_gone_is_told(attempts: Attempts) -> None:
    for work in (mr.SparkPythonTask("gone.py"), mr.SqlTask(file="gone.sql"), mr.PipelineTask("gone.py")):
        code, _, outcome = attempts.do(work)
        assert code == 1
        assert isinstance(outcome, TaskFailure)
        assert "is not there any more" in outcome.message


def test_alert_rules_are_evaluated_and_a_bad_one_is_a_result(attempts: Attempts) -> None:
    condition = Condition(sql="SELECT max(age) AS age FROM ml.m.people", operator=">", threshold=35.0)
    change(attempts.workspace.alerts, AlertRule("too old", kinds=(METRIC,), condition=condition, breaches=1, out_of=1))
    code, said, outcome = attempts.do(mr.AlertTask(("too old",)))
    assert isinstance(outcome, TaskOutcome), said
    assert (code, outcome.output["alert_state"], outcome.output["open"]) == (0, "TRIGGERED", 1)
    code, _, outcome = attempts.do(mr.AlertTask(("too odl",)))
    assert code == 1
    assert isinstance(outcome, TaskFailure)
    assert "too old" in outcome.hint


def test_an_attempt_that_is_stopped_ends_without_an_outcome(attempts: Attempts) -> None:
    began = attempts.root / "began"
    text = "import os, time\nopen('new', 'w').write(str(os.getpid()))\nos.replace('new', 'began')\ntime.sleep(600)\n"
    folder, process = attempts.start(mr.SparkPythonTask(attempts.write("sleep.py", text)))
    until = time.monotonic() + 200
    while not began.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 130
    assert read_outcome(folder) is None
    os.kill(int(began.read_text()), signal.SIGKILL)  # the keeper's part, who is not here


def test_a_program_that_is_told_nothing_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "millrace.tasks.attempt", str(tmp_path / "attempt.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 2
    assert "does not say what an attempt is to do" in done.stderr


@pytest.mark.long
def test_the_parts_of_a_pipeline_are_tasks(attempts: Attempts) -> None:
    workspace = attempts.workspace
    rows = purchases_between(START - 3 * WEEK, NOW, seed=1)
    workspace.lake.create("bronze.purchases", rows.schema)
    workspace.lake.append("bronze.purchases", rows)
    page = attempts.write("page.py", PAGE.replace("THRESHOLD", "0.9999"))
    with running_server(workspace.home):
        code, said, outcome = attempts.do(mr.FeatureRefreshTask(f"{page}:shop", ("ml.features.shop",)))
        assert code == 0, said
        assert isinstance(outcome, TaskOutcome)
        assert [each["name"] for each in outcome.output["stages"]] == [  # type: ignore[attr-defined]
            "features ml.features.shop",
            "publish ml.features.shop",
        ]
        assert "[ok] features ml.features.shop" in said
        code, _, outcome = attempts.do(mr.FeatureRefreshTask(page, ("ml.features.shpo",)))
        assert (code, isinstance(outcome, TaskFailure) and outcome.hint) == (1, "did you mean 'ml.features.shop'?")
        code, said, outcome = attempts.do(mr.RetrainTask(page))
        assert code == 3, said
        assert isinstance(outcome, TaskOutcome)
        assert outcome.refused
        assert "roc_auc" in outcome.message
        attempts.write("page.py", PAGE.replace("THRESHOLD", "0.5"))
        code, said, outcome = attempts.do(mr.PipelineTask(page))
        assert code == 0, said
        code, said, outcome = attempts.do(mr.RetrainTask(page))
        assert isinstance(outcome, TaskOutcome), said
        assert (code, outcome.message.partition(":")[0]) == (0, "no training")
        code, said, outcome = attempts.do(mr.MonitorTask(page))
        assert isinstance(outcome, TaskOutcome), said
        assert (code, outcome.message) == (0, "nothing new to judge")
        code, said, outcome = attempts.do(mr.PipelineTask(page))
        assert isinstance(outcome, TaskOutcome), said
        assert (code, outcome.message) == (0, "nothing to do: all is up to date")
