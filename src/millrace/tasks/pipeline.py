"""A pipeline's run, or a part of it: features, watching, retraining."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from millrace.core.errors import Conflict
from millrace.jobs.job import FeatureRefreshTask, MonitorTask, PipelineTask, RetrainTask
from millrace.jobs.job_run import TaskOutcome
from millrace.tasks.given import Given

if TYPE_CHECKING:
    from millrace.pipeline.declare import Pipeline
    from millrace.pipeline.execute import RunReport
    from millrace.pipeline.plan import Request

_LOOK_S = 1.0


def run_all(given: Given, work: PipelineTask) -> TaskOutcome:
    """Whatever is not up to date, as `millrace run` does it."""
    from millrace.pipeline.plan import Request

    return _outcome(_run(given, given.pipeline(work.pipeline), Request()))


def refresh(given: Given, work: FeatureRefreshTask) -> TaskOutcome:
    """Feature and label tables, and what is online of them."""
    from millrace.pipeline.plan import Request

    request = Request(parts=frozenset({"refresh"}), tables=frozenset(work.tables))
    return _outcome(_run(given, given.pipeline(work.pipeline), request))


def watch(given: Given, work: MonitorTask) -> TaskOutcome:
    """Late labels, verdicts, episodes, notifications."""
    from millrace.pipeline.plan import Request

    pipeline = given.pipeline(work.pipeline)
    report = _run(given, pipeline, Request(parts=frozenset({"watch"})))
    verdicts = next((each.detail for each in report.stages if each.name == "monitor"), "")
    return _outcome(report, verdicts or "nothing new to judge")


def retrain(given: Given, work: RetrainTask) -> TaskOutcome:
    """A retraining where the policy asks for one, up to production; what it reads is brought up to date before."""
    from millrace.pipeline.plan import Request, build_plan

    pipeline = given.pipeline(work.pipeline)
    parts = frozenset({"refresh", "train"})
    report = _run(given, pipeline, Request(parts=parts, retrain=work.force))
    if any(each.name.startswith("train") for each in report.stages):
        return _outcome(report)
    return _outcome(report, f"no training: {build_plan(given.workspace, pipeline, Request(parts=parts)).training.why}")


def _run(given: Given, pipeline: Pipeline, request: Request) -> RunReport:
    from millrace.pipeline.execute import run_pipeline
    from millrace.pipeline.plain_lines import PlainLines
    from millrace.workspace import open_target

    def run() -> RunReport:
        return run_pipeline(given.workspace, pipeline, lambda: open_target(given.workspace), PlainLines(), request)

    return _in_turn(run)


def _in_turn(run: Callable[[], RunReport]) -> RunReport:
    """Run when nobody else runs this pipeline: two schedules may meet. How long to wait is the task's time-out."""
    told, pause = "", threading.Event()
    while True:
        try:
            return run()
        except Conflict as error:
            if "lease" not in error.facts:
                raise
            if error.message != told:
                sys.stderr.write(f"waits: {error.message}\n")
                sys.stderr.flush()
            told = error.message
            pause.wait(_LOOK_S)


def _outcome(report: RunReport, said: str = "") -> TaskOutcome:
    stages = [
        {"name": each.name, "status": each.status, "seconds": round(each.seconds, 3), "detail": each.detail}
        for each in report.stages
    ]
    output: dict[str, object] = {"status": report.status, "stages": stages, "reasons": list(report.reasons)}
    message = "; ".join(report.reasons) or said or _summary(report.status, (each.name for each in report.stages))
    return TaskOutcome(output, message, refused=report.status == "refused")


def _summary(status: str, stages: Iterable[str]) -> str:
    names = list(stages)
    return "nothing to do: all is up to date" if status == "nothing" else f"{len(names)} stages done"
