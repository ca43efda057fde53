"""Notebooks as tasks: what they are given, what they exit with, and which of their cells failed."""

from __future__ import annotations

from pathlib import Path

import pytest

import millrace as mr
from millrace.jobs.attempt_files import TaskFailure
from millrace.jobs.job_run import TaskOutcome
from tests.integration.test_tasks import Attempts, attempts

pytestmark = pytest.mark.slow
__all__ = ["attempts"]

CELLS = """# Databricks notebook source
dbutils.widgets.text("day", "")
day = dbutils.widgets.get("day")

# COMMAND ----------

rows = dbutils.jobs.taskValues.get(taskKey="count", key="rows", debugValue=0)

# COMMAND ----------

dbutils.jobs.taskValues.set(key="twice", value=2 * rows)

# COMMAND ----------

{fourth}

# COMMAND ----------

dbutils.notebook.exit(f"{{day}}: {{rows}}")
"""


def test_a_notebook_gets_parameters_and_values_and_gives_what_it_exits_with(attempts: Attempts) -> None:
    attempts.workspace.jobs.values.set(attempts.run_id, "count", "rows", 3)
    work = mr.NotebookTask(attempts.write("notebook.py", CELLS.format(fourth="print('fourth')")), {"unused": "1"})
    code, said, outcome = attempts.do(work, key="notebook")
    assert code == 0, said
    assert isinstance(outcome, TaskOutcome)
    assert outcome.output["result"] == "2025-03-01: 3"
    assert "fourth" in Path(str(outcome.output["notebook"])).read_text()
    assert "[ok] cell 4 of 5" in said
    assert "the parameter 'unused' was given, and nothing asked for it" in said
    assert attempts.workspace.jobs.values.of(attempts.run_id)["notebook"] == {"twice": 6}


def test_a_notebook_that_fails_says_in_which_cell_and_why_and_is_kept(attempts: Attempts) -> None:
    work = mr.NotebookTask(attempts.write("broken.py", CELLS.format(fourth="share = 1 / (rows - rows)")))
    code, said, outcome = attempts.do(work, key="broken")
    assert code == 1
    assert isinstance(outcome, TaskFailure)
    assert "broken.py: cell 4 failed at line 1: ZeroDivisionError: division by zero" in outcome.message
    assert "share = 1 / (rows - rows)" in said
    assert outcome.output is not None
    assert (outcome.output["cell"], outcome.output["error"]) == (4, "ZeroDivisionError")
    assert "ZeroDivisionError" in Path(str(outcome.output["notebook"])).read_text()
    assert attempts.workspace.jobs.values.of(attempts.run_id)["broken"] == {"twice": 6}
