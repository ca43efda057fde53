"""Doing the work of a task: each kind has its module, imported when it is needed."""

from __future__ import annotations

from millrace.core.errors import InvalidState
from millrace.jobs.job import (
    AlertTask,
    ConditionTask,
    FeatureRefreshTask,
    MonitorTask,
    NotebookTask,
    PipelineTask,
    RetrainTask,
    RunJobTask,
    SparkPythonTask,
    SqlTask,
    Work,
)
from millrace.jobs.job_run import TaskOutcome
from millrace.tasks.given import Given


def perform(given: Given, work: Work) -> TaskOutcome:  # noqa: PLR0911 - one line for each kind
    """Do it, in this process; progress goes to standard error, what it prints to standard output.

    Raises:
        MillraceError: it can't be done.
        Exception: whatever the user's code raises.
    """
    match work:
        case PipelineTask():
            from millrace.tasks.pipeline import run_all

            return run_all(given, work)
        case FeatureRefreshTask():
            from millrace.tasks.pipeline import refresh

            return refresh(given, work)
        case MonitorTask():
            from millrace.tasks.pipeline import watch

            return watch(given, work)
        case RetrainTask():
            from millrace.tasks.pipeline import retrain

            return retrain(given, work)
        case AlertTask():
            from millrace.tasks.alert import evaluate_rules

            return evaluate_rules(given, work)
        case NotebookTask():
            from millrace.tasks.notebook import run_notebook

            return run_notebook(given, work)
        case SparkPythonTask():
            from millrace.tasks.python_file import run_file

            return run_file(given, work)
        case SqlTask():
            from millrace.tasks.sql import run_query

            return run_query(given, work)
        case ConditionTask() | RunJobTask():
            raise InvalidState("a condition and another job's run are the engine's own work, not a program's")
