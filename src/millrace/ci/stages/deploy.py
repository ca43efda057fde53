"""The stage `deploy`: the version that passed goes to staging, is asked there, and after an approval goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from millrace.ci.approval import Consent, not_approved, require_approval
from millrace.ci.stages.scene import Scene
from millrace.ci.stages.train import facts
from millrace.ci.stages.validate import verdict_result
from millrace.ci.types import Check, StageResult, Status, Target
from millrace.core.clock import iso
from millrace.core.errors import InvalidState, NotApproved
from millrace.pipeline.execute import RunReport, opened_once
from millrace.pipeline.release import Release, deploy_release, stage_release, verdict_stage
from millrace.pipeline.rollback import rolled_back
from millrace.registry.promotion import PRODUCTION


def deploy(scene: Scene, to: Target, consent: Consent, version: str | None = None) -> StageResult:
    """Bring the version that was trained from this commit to a target in the same home.

    A target whose alias is not `production` ends with the staging endpoint. Where the version is named and served there already,
    nothing is done; where another one has taken its place since, it is deployed again. After a rollback that takes its number: a
    job that runs again does not ask for it.

    Raises:
        InvalidState: nothing was trained from this commit, or it was not judged yet, or the files differ from the commit.
    """
    begun = time.perf_counter()
    release = scene.release(version)
    refused = refusal(scene, to, release)
    if refused is None and version is None and to.alias == PRODUCTION:
        refused = _rolled_back(scene, to, release)
    if refused is not None:
        return refused
    with ExitStack() as stack:
        shared = replace(scene, open_server=opened_once(scene.open_server, stack))
        return _deployed(shared, to, consent, release, begun)


def _rolled_back(scene: Scene, to: Target, release: Release) -> StageResult | None:
    """Why a version that nobody has named does not come back by itself; None where no rollback has taken it out."""
    entry = release.entry
    left = rolled_back(scene.workspace, entry.model, entry.version)
    if left is None:
        return None
    summary = f"{entry.model} v{entry.version} was rolled back {iso(left.at)}: {left.why}"
    hint = f"`--model-version {entry.version}` deploys it all the same"
    check = Check("rollback", "failed", summary)
    return StageResult("deploy", to.name, "refused", summary, (check,), facts(scene, str(entry.version)), hint=hint)


def _deployed(scene: Scene, to: Target, consent: Consent, release: Release, begun: float) -> StageResult:
    staged = stage_release(scene.workspace, scene.pipeline, release, scene.open_server, scene.progress)
    checks = _checks(staged, "staging", f"{scene.pipeline.staging_endpoint} serves v{release.entry.version} already")
    told = facts(scene, str(release.entry.version))
    if staged.status == "refused" or to.alias != PRODUCTION:
        return _result(to, release, staged.status, checks, told, begun=begun)
    try:
        approval = require_approval(scene.workspace, release.entry, scene.target, to, consent)
    except NotApproved as error:
        return not_approved(to, error, checks, told, time.perf_counter() - begun)
    if approval is not None:
        checks.append(approval.check)
        release = replace(release, why=approval.added_to(release.why))
        told |= {"approved_by": approval.by, "approval_reason": approval.reason}
    done = deploy_release(scene.workspace, scene.pipeline, release, scene.open_server, scene.progress)
    checks += _checks(done, PRODUCTION, f"{scene.pipeline.endpoint} serves v{release.entry.version} already")
    return _result(to, release, done.status, checks, told, begun=begun)


def refusal(scene: Scene, to: Target, release: Release) -> StageResult | None:
    """Why a version may not go on; None where its gates have passed it.

    Raises:
        InvalidState: it was not judged yet, or was made of files that no commit has.
    """
    entry = release.entry
    if to.approval and scene.commit is not None and not scene.commit.is_clean:
        files = ", ".join(scene.commit.changed[:3])
        raise InvalidState(
            f"files differ from commit {scene.commit.sha[:12]}: {files}",
            hint=f"commit them: what goes to {to.name} must be found again",
            changed=list(scene.commit.changed),
        )
    verdict = verdict_stage(scene.workspace, scene.pipeline.name, release.group)
    if verdict is None:
        raise InvalidState(
            f"{entry.model} v{entry.version} was not judged yet",
            hint=f"run `millrace ci run validate --target {scene.target.name}` first",
        )
    if verdict.status != "refused":
        return None
    told = facts(scene, str(entry.version))
    judged = verdict_result(to.name, f"{entry.model} v{entry.version}", verdict.output, told)
    return StageResult("deploy", to.name, "refused", judged.summary, judged.checks, judged.facts, hint=judged.hint)


def _checks(report: RunReport, name: str, already: str) -> list[Check]:
    status = {"done": "passed", "refused": "failed", "waiting": "waiting"}
    found = [Check(stage.name, status[stage.status], stage.detail, stage.seconds) for stage in report.stages]  # type: ignore[arg-type]
    if found:
        return found
    if report.status == "refused":
        return [Check(name, "failed", reason) for reason in report.reasons]
    return [Check(name, "skipped", already)]


def _result(
    to: Target, release: Release, status: str, checks: list[Check], told: Mapping[str, object], *, begun: float
) -> StageResult:
    named = f"{release.entry.model} v{release.entry.version}"
    ended: dict[str, tuple[Status, str]] = {
        "done": ("passed", f"{named} is deployed to {to.name}"),
        "nothing": ("passed", f"{named} was deployed to {to.name} already"),
        "waiting": ("waiting", f"{named} is taking over in {to.name} by a canary"),
        "refused": ("refused", f"{named} was refused on its way to {to.name}"),
    }
    ends, summary = ended[status]
    hint = "run the stage again when it has ended, so that the alias moves" if ends == "waiting" else ""
    return StageResult("deploy", to.name, ends, summary, tuple(checks), told, time.perf_counter() - begun, hint)
