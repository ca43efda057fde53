"""Running a stage as a CI system does, and as a person does: the same home, the same exit codes, the same reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from millrace.ci.reports.write import make_folder, write_reports
from millrace.ci.types import Check, Project, Stage, StageResult, Status
from millrace.core.errors import MillraceError, UsageError
from millrace.core.names import did_you_mean

STAGES: tuple[Stage, ...] = ("test", "train", "validate", "deploy")
_WORST: Sequence[Status] = ("passed", "waiting", "refused", "failed")


def stage_named(text: str) -> Stage:
    """The stage of that name. Raises UsageError for one that there is not."""
    for stage in STAGES:
        if stage == text:
            return stage
    raise UsageError(f"there is no stage '{text}'", hint=did_you_mean(text, STAGES))


def report_stage(
    project: Project,
    stage: Stage,
    target: str,
    run: Callable[[], StageResult],
    *,
    folder: Path | None = None,
    stream: TextIO | None = None,
) -> StageResult:
    """Run a stage and write its reports, also where it can't be done: then the reports say why, and the error goes on.

    Raises:
        MillraceError: what the stage raised.
    """
    reports = folder or project.reports
    make_folder(reports)  # before the work: where it can't be told, it is not done
    try:
        result = run()
    except MillraceError as error:
        write_reports(not_done(stage, target, error), reports, stream=stream)
        raise
    own = stage == "test" and (reports / "test.xml").is_file()
    write_reports(result, reports, junit=not own, stream=stream)
    return result


def not_done(stage: Stage, target: str, error: MillraceError) -> StageResult:
    """What is told of a stage that could not be done."""
    checks = (Check(stage, "failed", error.message),)
    return StageResult(stage, target, "failed", error.message, checks, hint=error.hint)


def together(results: Sequence[StageResult]) -> StageResult:
    """The results of several pipelines as one: the worst of them, with all checks."""
    if len(results) == 1:
        return results[0]
    worst = max(results, key=lambda result: _WORST.index(result.status))
    checks = tuple(
        replace(check, name=f"{result.facts.get('pipeline', '')}: {check.name}")
        for result in results
        for check in result.checks
    )
    summary = "; ".join(result.summary for result in results)
    facts = {str(result.facts.get("pipeline")): dict(result.facts) for result in results}
    return replace(
        worst, summary=summary, checks=checks, facts=facts, seconds=sum(result.seconds for result in results)
    )
