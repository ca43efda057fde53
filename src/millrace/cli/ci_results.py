"""How a stage ended, on standard output and in the files that were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from millrace.cli.output import print_facts, print_json, print_table, say, shown

if TYPE_CHECKING:
    from millrace.ci.types import StageResult


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


def write_asked(result: StageResult, junit: Path | None, markdown: Path | None) -> None:
    """The reports that were asked for by name, and what the CI system wants to be told."""
    from millrace.ci.reports.junit import to_junit
    from millrace.ci.reports.markdown import to_markdown
    from millrace.ci.reports.write import write_text

    if junit is not None:
        write_text(junit, to_junit(result))
    if markdown is not None:
        write_text(markdown, to_markdown(result))
