"""`millrace run` and `millrace plan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import AsOf, Home, Json, PipelineFile, PipelineName, TableVersions
from millrace.cli.output import print_json, print_table, say
from millrace.core.clock import parse_time
from millrace.core.errors import InvalidInput, UsageError
from millrace.core.names import TableName

if TYPE_CHECKING:
    from millrace.pipeline.execute import RunReport
    from millrace.pipeline.plan import Request

_EXIT_REFUSED = 3
Retrain = Annotated[bool, Parameter(name="--retrain", negative="", help="Train even where nothing asks for it.")]


def run(
    file: PipelineFile = Path("pipeline.py"),
    *,
    pipeline: PipelineName = None,
    as_of: AsOf = None,
    table_version: TableVersions | None = None,
    retrain: Retrain = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """Run a pipeline: whatever is not up to date, from features to production and monitors."""
    from millrace.cli.pages import load_page
    from millrace.cli.progress import progress
    from millrace.pipeline.execute import run_pipeline
    from millrace.tasks.apply import not_applied
    from millrace.workspace import open_target, open_workspace, remember_pipeline

    declared = load_page(file, pipeline, home)
    workspace = open_workspace(home)
    request = _request(as_of, table_version, retrain=retrain)
    try:
        remember_pipeline(workspace, declared.name, file)
        with progress(plain=json) as shown:
            report = run_pipeline(workspace, declared, lambda: open_target(workspace), shown, request)
        schedules = not_applied(workspace.jobs, declared, file)
    finally:
        workspace.close()
    _print_report(report, schedules, json=json)
    if schedules and not json:
        say(f"its schedules are not in force as declared ({', '.join(schedules)}): millrace job apply {file}")
    return _EXIT_REFUSED if report.status == "refused" else 0


def plan(
    file: PipelineFile = Path("pipeline.py"),
    *,
    pipeline: PipelineName = None,
    as_of: AsOf = None,
    table_version: TableVersions | None = None,
    retrain: Retrain = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """Print the stages that would run, and why. Changes nothing."""
    from millrace.cli.pages import load_page
    from millrace.pipeline.plan import build_plan
    from millrace.workspace import open_workspace

    made = build_plan(
        open_workspace(home), load_page(file, pipeline, home), _request(as_of, table_version, retrain=retrain)
    )
    steps = [{"stage": step.stage.name, "run": step.needed, "why": step.why} for step in made.steps]
    decision = made.decision
    if json:
        policy = asdict(decision) | {"trigger": None if decision.trigger is None else str(decision.trigger)}
        facts = {"pipeline": made.pipeline, "due": made.due, "training": made.training.why}
        print_json({**facts, "retraining": policy, "steps": steps})
        return 0
    print_table(
        ["stage", "", "why"], [(step["stage"], "run" if step["run"] else "skip", step["why"]) for step in steps]
    )
    say(f"training: {made.training.why}")
    if decision.reason not in made.training.why:
        say(f"retraining: {decision.state}: {decision.reason}")
    say(
        f"{len(made.needed)} of {len(steps)} stages would run, as of {made.due:%Y-%m-%d %H:%M}"
        if made.needed
        else "nothing to do"
    )
    return 0


def _request(as_of: str | None, versions: list[str] | None, *, retrain: bool) -> Request:
    from millrace.pipeline.plan import Request

    return Request(
        as_of=_time(as_of) if as_of else None,
        versions=dict(_version(text) for text in versions or []),
        retrain=retrain,
    )


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except InvalidInput as error:
        raise UsageError(f"--as-of: {error.message}", hint=error.hint) from error


def _version(text: str) -> tuple[TableName, int]:
    name, _, number = text.partition("=")
    if not number.isdecimal():
        raise UsageError(
            f"--table-version {text} is not NAME=VERSION", hint="write --table-version bronze.transactions=12"
        )
    return TableName.parse(name), int(number)


def _print_report(report: RunReport, schedules: Sequence[str], *, json: bool) -> None:
    if json:
        stages = [
            {"name": s.name, "status": s.status, "seconds": round(s.seconds, 3), "detail": s.detail}
            for s in report.stages
        ]
        print_json(
            {
                "status": report.status,
                "resumed": report.resumed,
                "stages": stages,
                "reasons": list(report.reasons),
                "schedules_not_applied": list(schedules),
                "report": report.report or None,
            }
        )
        return
    if report.resumed:
        say("the run before this one did not come to its end: this one went on where it stopped")
    if report.status == "nothing":
        say("nothing to do: every stage is up to date")
    for reason in report.reasons:
        say(f"{report.status}: {reason}")
    if report.status == "waiting":
        say("production goes on serving; the next run asks again, and moves the alias when the canary has finished")
    if report.report:
        say(f"report: {report.report}")
