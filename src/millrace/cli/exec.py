"""`millrace exec`: execute a notebook."""

from __future__ import annotations

import secrets
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json, named_values
from millrace.cli.output import print_json, say
from millrace.core.errors import InvalidState, UsageError

if TYPE_CHECKING:
    from millrace.notebooks.types import NotebookResult


def exec_(
    file: Annotated[Path, Parameter(help="A notebook: .ipynb, or .py in source format.")],
    *,
    param: Annotated[
        list[str] | None,
        Parameter(name="--param", negative="", help="A widget's value, as day=monday; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None, Parameter(help="Where the executed notebook is kept, an .ipynb; in the home by default.")
    ] = None,
    timeout: Annotated[float | None, Parameter(help="Seconds that all cells together may take.")] = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Execute a notebook in a kernel of its own, with spark, dbutils and display, and keep it with its outputs."""
    from millrace.notebooks.run import run_notebook
    from millrace.workspace import open_workspace

    if timeout is not None and timeout <= 0:
        raise UsageError(f"--timeout is {timeout:g}", hint="give a number of seconds above 0")
    with closing(open_workspace(home)) as workspace:
        folder, most = workspace.home / "notebooks" / file.stem, workspace.settings.kept_runs
        kept = output or folder / f"{workspace.clock.now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}.ipynb"
    try:
        result = run_notebook(
            file,
            output=kept,
            home=home,
            parameters=named_values("--param", param or (), "day=monday", may_be_empty=True),
            project=_project(file),
            timeout_s=timeout,
            progress=CellLines(),
        )
    except InvalidState as error:
        if json:
            print_json({"status": "failed", "message": error.message, **error.facts})
        raise
    finally:
        _forget_past(folder, most)
    _print(result, json=json)
    return 0


class CellLines:
    """A line for each cell, on standard error."""

    def begins(self, number: int, total: int, title: str) -> None:
        """On a terminal, say what runs."""
        if sys.stderr.isatty():
            self._write(f"[..] cell {number} of {total}{f': {title}' if title else ''}", end="")

    def ends(self, number: int, total: int, title: str, seconds: float, *, failed: bool) -> None:
        """Say how it went."""
        begin = "\r" if sys.stderr.isatty() else ""
        mark = "!!" if failed else "ok"
        self._write(f"{begin}[{mark}] cell {number} of {total} {seconds:.1f} s{f': {title}' if title else ''}")

    @staticmethod
    def _write(text: str, end: str = "\n") -> None:
        sys.stderr.write(text + end)
        sys.stderr.flush()


def _print(result: NotebookResult, *, json: bool) -> None:
    if json:
        print_json(
            {
                "status": "done",
                "exit_value": result.exit_value,
                "output": str(result.output),
                "cells": result.cells,
                "seconds": round(result.seconds, 3),
                "task_values": result.task_values,
                "notes": list(result.notes),
            }
        )
        return
    for note in result.notes:
        say(f"note: {note}")
    if result.exit_value is not None:
        say(f"exited with: {result.exit_value}")
    say(f"{result.cells} cells in {result.seconds:.1f} s; the executed notebook is kept in {result.output}")


def _forget_past(folder: Path, most: int) -> None:
    """Of the executed notebooks of a name the oldest make room, with their logs and the notebooks that they ran."""
    for past in sorted(folder.glob("[0-9]*T[0-9]*-*.ipynb"))[:-most]:
        past.unlink(missing_ok=True)
        past.with_suffix(".log").unlink(missing_ok=True)
        shutil.rmtree(past.with_suffix(""), ignore_errors=True)


def _project(file: Path) -> Path:
    """Where the user stands, if the notebook is below it; else its folder."""
    here = Path.cwd()
    return here if file.absolute().is_relative_to(here) else file.absolute().parent
