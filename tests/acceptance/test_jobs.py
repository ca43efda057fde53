"""A user's story with jobs: declared, run, broken, mended, cancelled, killed, and gone on with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PAGE = """
import millrace as mr

nightly = mr.Job(
    "nightly",
    [
        mr.Task("count", mr.SparkPythonTask("count.py", ("{{job.parameters.day}}",))),
        mr.Task("any", mr.ConditionTask("GREATER_THAN", "{{tasks.count.values.rows}}", "0"), depends_on=["count"]),
        mr.Task(
            "report",
            mr.SqlTask("SELECT :day AS day, :rows::int AS n", parameters={
                "day": "{{job.parameters.day}}", "rows": "{{tasks.count.values.rows}}",
            }),
            depends_on=[mr.TaskDependency("any", "true")],
        ),
        mr.Task("nothing", mr.SqlTask("SELECT 0"), depends_on=[mr.TaskDependency("any", "false")]),
    ],
    parameters={"day": "2025-03-01"},
)
long = mr.Job(
    "long",
    [mr.Task("before", mr.SparkPythonTask("count.py", ("x",))), mr.Task("sleep", mr.SparkPythonTask("sleep.py"), depends_on=["before"])],
)
"""
COUNT = """
import sys
import millrace as mr

print("counting", sys.argv[1])
with open("counted", "a") as file:
    file.write("x")
mr.task_values.set("rows", 3)
"""
BROKEN = COUNT.replace('print("counting"', 'raise ValueError("no rows on"')
SLEEP = """
import os, time

with open("sleeper", "w") as file:
    file.write(str(os.getpid()))
time.sleep(float(open("nap").read()))
"""
PATIENCE_S = 120.0


@dataclass
class Project:
    """A folder with a page, and a command line in it."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "millrace.cli.main", "job", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "MILLRACE_HOME"},
        )
        self.started.append(process)
        return process

    def do(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def json(self, *arguments: str) -> dict[str, Any]:
        _, out, err = self.do(*arguments, "--json")
        found = json.loads(out or err)
        assert isinstance(found, dict)
        return found

    def attempts(self, job: str) -> list[tuple[str, str]]:
        """Of the job's newest run each attempt: its task, and how it ended."""
        run = self.json("runs", job, "--limit", "1")["runs"][0]["run_id"]
        return [(task["task_key"], task["state"]["result_state"]) for task in self.json("show", str(run))["tasks"]]

    def sleeper(self) -> int:
        """The process of the task that sleeps, when there is one."""
        wait_for(lambda: (self.folder / "sleeper").exists() and (self.folder / "sleeper").read_text() != "")
        return int((self.folder / "sleeper").read_text())


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    for name, text in {"jobs.py": PAGE, "count.py": COUNT, "sleep.py": SLEEP, "nap": "60"}.items():
        made.write(name, text)
    assert made.do("apply", "jobs.py")[0] == 0
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_a_task_fails_its_log_says_why_it_is_mended_and_the_run_repaired(project: Project) -> None:
    project.write("count.py", BROKEN)
    code, out, err = project.do("run", "nightly", "--param", "day=2025-04-01")
    assert code == 1
    assert "[!!] count" in err
    assert "task count: count.py ended with exit code 1: ValueError: ('no rows on', '2025-04-01')" in out
    assert "  | ValueError: ('no rows on', '2025-04-01')" in out
    run = project.json("runs")["runs"][0]["run_id"]
    assert f"millrace job repair {run}" in out
    assert dict(project.attempts("nightly")) == {
        "count": "FAILED",
        "any": "UPSTREAM_FAILED",
        "report": "UPSTREAM_FAILED",
        "nothing": "UPSTREAM_FAILED",
    }
    project.write("count.py", COUNT)
    code, out, err = project.do("repair", "nightly")
    assert (code, f"run {run} of job nightly: SUCCESS" in out) == (0, True), out + err
    assert "[ok] count (attempt 2)" in err
    assert project.do("logs", "nightly", "report")[1] == "day         n\n----------  -\n2025-04-01  3\n1 row\n"
    assert "ValueError" in project.do("logs", str(run), "count", "--attempt", "1")[1]
    _, out, _ = project.do("show", str(run))
    assert "repaired    once" in out
    assert "attempt 2; 1 row" in out  # report's message
    assert not re.search(r"attempt 2;\s*(if|$)", out, re.MULTILINE)  # nothing follows where there is no message


@pytest.mark.long
def test_a_long_run_is_cancelled_from_another_terminal(project: Project) -> None:
    running = project.start("run", "long")
    pid = project.sleeper()
    code, out, _ = project.do("cancel", "long")
    assert (code, "is being canceled" in out) == (0, True)
    out, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 1
    assert "CANCELED" in out
    assert is_gone(pid)
    assert project.attempts("long") == [("before", "SUCCESS"), ("sleep", "CANCELED")]


def test_a_run_whose_executor_was_killed_goes_on_at_the_task_that_was_not_done(project: Project) -> None:
    running = project.start("run", "long")
    pid = project.sleeper()
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=PATIENCE_S)
    wait_for(lambda: is_gone(pid))
    (project.folder / "sleeper").unlink()
    project.write("nap", "0")
    code, out, err = project.do("wait", "long")
    assert (code, "SUCCESS" in out) == (0, True), out + err
    assert (project.folder / "counted").read_text() == "x"
    assert project.attempts("long") == [("before", "SUCCESS"), ("sleep", "FAILED"), ("sleep", "SUCCESS")]


@pytest.mark.long
def test_of_two_terminals_at_once_one_executes_both_runs(project: Project) -> None:
    project.write("nap", "3")
    one, other = project.start("run", "long"), project.start("run", "nightly")
    for process in (one, other):
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, out + err
    runs = project.json("runs")["runs"]
    assert sorted((run["job"], run["state"]["result_state"]) for run in runs) == [
        ("long", "SUCCESS"),
        ("nightly", "SUCCESS"),
    ]
    assert (project.folder / "counted").read_text() == "xx"


@pytest.mark.long
def test_a_log_is_followed_to_the_end_of_its_task(project: Project) -> None:
    project.write("nap", "2")
    project.write(
        "sleep.py",
        SLEEP.replace("import os, time", 'import os, time\nprint("going to sleep", flush=True)') + 'print("awake")\n',
    )
    running = project.start("run", "long")
    project.sleeper()
    code, out, _ = project.do("logs", "long", "sleep", "--follow")
    assert (code, out) == (0, "going to sleep\nawake\n")
    running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0
