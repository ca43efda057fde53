"""A notebook: executed, and kept with its outputs."""

from __future__ import annotations

import sys
from pathlib import Path

from millrace.core.errors import InvalidState
from millrace.jobs.job import NotebookTask
from millrace.jobs.job_run import TaskOutcome
from millrace.tasks.given import Given


class Cells:
    """Tells a log of each cell."""

    def begins(self, number: int, total: int, title: str) -> None:
        """A cell begins."""
        _say(f"[..] cell {number} of {total}{': ' if title else ''}{title}")

    def ends(self, number: int, total: int, title: str, seconds: float, *, failed: bool) -> None:
        """A cell has ended."""
        _say(f"[{'!!' if failed else 'ok'}] cell {number} of {total} {seconds:.1f} s{': ' if title else ''}{title}")


def run_notebook(given: Given, work: NotebookTask) -> TaskOutcome:
    """Execute its cells in order; what it exits with is the output, what it set goes to the tasks after it.

    The run's parameters are its widgets' values, beside the task's own, which come first.

    Raises:
        NotFound: there is no such file.
        InvalidState: a cell failed; the message says which and why. What it has set until then is handed on.
    """
    from millrace.notebooks import run_notebook as execute

    context, path = given.context, given.file(work.notebook_path, "notebook")
    output = given.artifacts / f"{path.stem}.ipynb"
    try:
        done = execute(
            path,
            output=output,
            home=context.home,
            parameters={**context.parameters, **work.base_parameters},
            project=Path(context.folder),
            task_key=context.task_key,
            task_values=given.values,
            progress=Cells(),
        )
    except InvalidState as error:
        given.hand_on(_values(error.facts.get("task_values")))
        found = {name: error.facts.get(name) for name in ("cell", "title", "line", "error")}
        raise InvalidState(error.message, error.hint, task_output={"notebook": str(output), **found}) from error
    given.hand_on(done.task_values)
    # Of the run's parameters, which all its tasks get, nobody need ask for any.
    for note in (note for note in done.notes if any(f"'{name}'" in note for name in work.base_parameters)):
        _say(f"note: {note}")
    output_facts: dict[str, object] = {"result": done.exit_value, "notebook": str(output), "cells": done.cells}
    return TaskOutcome(output_facts, done.exit_value or "")


def _values(found: object) -> dict[str, object]:
    return dict(found) if isinstance(found, dict) else {}


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
