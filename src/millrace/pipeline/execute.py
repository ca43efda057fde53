"""Doing a plan: stage by stage, each recorded, so that a killed run goes on where it stopped."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from millrace.core.errors import Conflict
from millrace.core.events import Event
from millrace.core.processes import is_alive
from millrace.jobs.types import PipelineRunId, Status
from millrace.pipeline.attempts import VALIDATE, why_refused
from millrace.pipeline.context import OpenTarget, RunContext
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.notes import catch_up
from millrace.pipeline.plan import Plan, Request, Step, build_plan, is_watching
from millrace.pipeline.port import Progress, Services
from millrace.pipeline.stages.stage import Outcome

if TYPE_CHECKING:
    from millrace.targets.port import DeploymentTarget

_LEASE_S = 60.0
_log = logging.getLogger(__name__)
# Watching may open an episode that asks for a retraining, and a retraining changes what is watched: three rounds settle.
_ROUNDS = 3
_LOOP = {"train", "watch"}


@dataclass(frozen=True, slots=True)
class StageReport:
    """How one stage ended."""

    name: str
    status: Status
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run ended. `report` is where the page about its verdict is, where there was one.

    `nothing` where every stage was done already; `refused` with the reasons of the gates or of a canary; `waiting` with what is waited
    for.
    """

    status: str
    stages: tuple[StageReport, ...]
    reasons: tuple[str, ...] = ()
    resumed: bool = False
    report: str = ""


def run_pipeline(
    services: Services, pipeline: Pipeline, target: OpenTarget, progress: Progress, request: Request | None = None
) -> RunReport:
    """Plan and execute, again while what was done asks for more. Running it again at once runs nothing.

    Raises:
        Conflict: another process is running this pipeline.
        MillraceError: a stage could not be done; what was done before it stays done.
    """
    request = request or Request()
    with alone(services, pipeline.name), ExitStack() as stack:
        shared = opened_once(target, stack)
        reports: list[StageReport] = []
        resumed = _was_interrupted(services, pipeline)
        is_loop = request.parts >= _LOOP
        if is_loop:
            catch_up(services, pipeline)
        for _ in range(_ROUNDS if is_loop else 1):
            plan = build_plan(services, pipeline, request)
            if not plan.needed:
                break
            done = _execute(services, pipeline, plan, shared, progress)
            reports += done
            if any(stage.status in {"refused", "waiting"} for stage in done):
                break
        if is_loop:
            catch_up(services, pipeline)
        ended = _report(services, pipeline, request, reports, resumed=resumed)
        return replace(ended, report=_page_of(services, pipeline, reports))


def run_plan(services: Services, pipeline: Pipeline, plan: Plan, target: OpenTarget, progress: Progress) -> RunReport:
    """Execute one plan, as it is. Each stage that needs the target opens it: `opened_once` keeps it open between them.

    Raises:
        Conflict, MillraceError: as `run_pipeline`.
    """
    with alone(services, pipeline.name):
        resumed = bool(plan.needed) and _was_interrupted(services, pipeline)
        done = _execute(services, pipeline, plan, target, progress) if plan.needed else []
    for status in ("refused", "waiting"):
        reasons = tuple(report.detail for report in done if report.status == status)
        if reasons:
            return RunReport(status, tuple(done), reasons, resumed)
    if done:
        return RunReport("done", tuple(done), (), resumed)
    return RunReport("nothing", ()) if plan.refused is None else RunReport("refused", (), why_refused(plan.refused))


def opened_once(target: OpenTarget, stack: ExitStack) -> OpenTarget:
    """The target, opened by the first that needs it and kept open for the others, until the stack ends."""
    opened: list[DeploymentTarget] = []

    def shared() -> AbstractContextManager[DeploymentTarget]:
        if not opened:
            opened.append(stack.enter_context(target()))
        return nullcontext(opened[0])

    return shared


def _page_of(services: Services, pipeline: Pipeline, reports: list[StageReport]) -> str:
    judged = services.runs.latest(pipeline.name, VALIDATE) if any(each.name == VALIDATE for each in reports) else None
    return "" if judged is None else str(judged.output.get("report", ""))


def _report(
    services: Services, pipeline: Pipeline, request: Request, reports: list[StageReport], *, resumed: bool
) -> RunReport:
    refused = tuple(report.detail for report in reports if report.status == "refused")
    if refused:
        return RunReport("refused", tuple(reports), refused, resumed)
    waiting = tuple(report.detail for report in reports if report.status == "waiting")
    if waiting:
        return RunReport("waiting", tuple(reports), waiting, resumed)
    if reports:
        return RunReport("done", tuple(reports), (), resumed)
    before = build_plan(services, pipeline, request).refused
    if before is None:
        return RunReport("nothing", ())
    return RunReport("refused", (), why_refused(before))


def _execute(
    services: Services, pipeline: Pipeline, plan: Plan, target: OpenTarget, progress: Progress
) -> list[StageReport]:
    context = RunContext(services, pipeline, plan.pins, target, progress)
    run = services.runs.start(pipeline.name, plan.due, services.clock.now(), str(services.principal), plan.training.why)
    status: Status = "failed"
    reports: list[StageReport] = []
    refused = False
    try:
        for step in plan.steps:
            if not step.needed:
                _take_over(context, step)
                continue
            if refused and not is_watching(step.stage):
                continue
            reports.append(_run_stage(context, run, step))
            refused = refused or reports[-1].status == "refused"
        status = next((report.status for report in reports if report.status in {"refused", "waiting"}), "done")
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        services.runs.end(run, status, services.clock.now())
        _tell(services, pipeline, run, status)
    return reports


def _run_stage(context: RunContext, run: PipelineRunId, step: Step) -> StageReport:
    services, stage = context.services, step.stage
    stage_id = services.runs.start_stage(
        run, context.pipeline.name, stage.name, stage.fingerprint, services.clock.now()
    )
    context.progress.stage(stage.name, "running")
    begun = time.perf_counter()
    try:
        outcome = stage.run(context)
    except BaseException as error:
        seconds = time.perf_counter() - begun
        status: Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        services.runs.end_stage(stage_id, status, services.clock.now(), seconds, {"error": str(error)})
        context.progress.stage(stage.name, status, str(error).split("\n")[0], seconds)
        raise
    return _ended(context, stage_id, stage.name, outcome, time.perf_counter() - begun)


def _ended(context: RunContext, stage_id: int, name: str, outcome: Outcome, seconds: float) -> StageReport:
    context.services.runs.end_stage(stage_id, outcome.status, context.services.clock.now(), seconds, outcome.output)
    context.outputs[name] = outcome.output
    context.progress.stage(name, outcome.status, outcome.detail, seconds)
    return StageReport(name, outcome.status, seconds, outcome.detail)


def _take_over(context: RunContext, step: Step) -> None:
    if step.done is not None:
        context.outputs[step.stage.name] = step.done.output
        context.progress.stage(step.stage.name, "skipped", step.why)


def _tell(services: Services, pipeline: Pipeline, run: PipelineRunId, status: str) -> None:
    data = {"run": int(run), "status": status}
    services.events.append(
        Event("run.finished", f"pipeline/{pipeline.name}", services.clock.now(), services.principal, data)
    )


def _was_interrupted(services: Services, pipeline: Pipeline) -> bool:
    last = services.runs.runs(pipeline.name, limit=1)
    return bool(last) and last[0].status in {"running", "interrupted", "failed"}


@contextmanager
def alone(services: Services, pipeline: str) -> Iterator[None]:
    """Hold the lease of the pipeline of that name, renewed in the background; a killed holder's lease ends by itself.

    Raises:
        Conflict: another process holds it.
    """
    name, holder = f"pipeline/{pipeline}", f"{os.uname().nodename}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    _take_lease(services, name, holder)
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(_LEASE_S / 3):
            try:
                services.leases.acquire(name, holder, _LEASE_S)
            except Exception:  # noqa: BLE001 - the boundary of a background loop: a database that is busy now may answer before the lease ends
                _log.warning("the lease of %s could not be renewed", name, exc_info=True)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        services.leases.release(name, holder)


def _take_lease(services: Services, name: str, holder: str) -> None:
    if services.leases.acquire(name, holder, _LEASE_S):
        return
    other = services.leases.holder(name) or ""
    host, _, rest = other.partition(":")
    pid = rest.partition(":")[0]
    if host == os.uname().nodename and pid.isdecimal() and not is_alive(int(pid)):
        services.leases.release(name, other)
        if services.leases.acquire(name, holder, _LEASE_S):
            return
    raise Conflict(
        f"{name} is being run by another process ({other or 'unknown'})",
        hint="wait for it to end; if it was killed on another machine, its lease ends within a minute",
        lease=name,
    )
