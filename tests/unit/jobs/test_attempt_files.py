from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from millrace.jobs.attempt_files import read_attempt, read_outcome, write_outcome
from millrace.jobs.job_run import TaskOutcome

WRITES = """
import sys
from millrace.jobs.attempt_files import write_attempt
from millrace.jobs.job import SparkPythonTask
from millrace.jobs.job_run import RunId, TaskContext

given = {"who": "h\\u00e4ufig \\u0142"}
context = TaskContext("home", "folder", sys.argv[1], "job", RunId(1), RunId(2), "one", 0, "ONE_TIME", None, given)
write_attempt(context, SparkPythonTask("a.py"))
"""


def test_what_an_attempt_is_told_is_written_whatever_the_locale_of_who_executes(tmp_path: Path) -> None:
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", WRITES, str(tmp_path)], env=ascii_only, check=True)
    context, _ = read_attempt(tmp_path / "attempt.json")
    assert context.parameters == {"who": "häufig ł"}


def test_a_number_that_is_not_finite_is_null_in_an_outcome(tmp_path: Path) -> None:
    write_outcome(
        tmp_path, TaskOutcome({"first_row": {"x": float("nan"), "n": 1.5}, "all": [float("inf"), 2]}, "1 row")
    )
    assert read_outcome(tmp_path) == TaskOutcome({"first_row": {"x": None, "n": 1.5}, "all": [None, 2]}, "1 row")
