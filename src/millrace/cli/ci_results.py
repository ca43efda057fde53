"""How a stage ended, on standard output and in the files that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.cli.output import print_facts, print_json, print_table, say, shown
from millrace.core.errors import MillraceError

if TYPE_CHECKING:
    from millrace.ci.types import Stage, StageResult


def print_result(result: StageResult, folder: Path | None, *, json: bool) -> None:
    """A stage's result on standard output."""
    from millrace.ci.reports.write import as_json

    if json:
        print_json(as_json(result))
        return
    if result.checks:
        print_table(["check", "", "why"], [(check.name, check.status, check.detail) for check in result.checks])
    print_facts({name: shown(value) for name, value in result.facts.items() if isinstance(value, str)})
    say(f"{result.stage} in {result.target}: {result.status}: {result.summary}")
    if result.hint:
        say(f"  hint: {result.hint}")
    if folder is not None:
        say(f"reports are in {folder}")


def told_in_files(
    stage: Stage, target: str, run: Callable[[], StageResult], junit: Path | None, markdown: Path | None
) -> StageResult:
    """Do it, and write the reports that were asked for by name, also where it can't be done: then they say why, and the error goes on.

    Raises:
        MillraceError: what `run` raised, or InvalidState where a report can't be written.
    """
    from millrace.ci.run import not_done

    try:
        result = run()
    except MillraceError as error:
        _write(not_done(stage, target, error), junit, markdown)
        raise
    _write(result, junit, markdown)
    return result


def _write(result: StageResult, junit: Path | None, markdown: Path | None) -> None:
    from millrace.ci.reports.junit import to_junit
    from millrace.ci.reports.markdown import to_markdown
    from millrace.ci.reports.write import write_text

    if junit is not None:
        write_text(junit, to_junit(result))
    if markdown is not None:
        write_text(markdown, to_markdown(result))
