"""A version onto an endpoint of the home that it is in."""

from __future__ import annotations

import time
from collections.abc import Mapping

from millrace.ci.approval import Approval, Consent, not_approved, require_approval
from millrace.ci.homes import is_same_home
from millrace.ci.promotion.alias import move_alias
from millrace.ci.promotion.pack import deployment_of, verdict_of
from millrace.ci.stages.validate import verdict_result
from millrace.ci.types import Check, Project, StageResult, Target
from millrace.core.errors import InvalidState, NotApproved
from millrace.pipeline.context import OpenTarget
from millrace.pipeline.execute import alone
from millrace.pipeline.rollback import DEPLOYMENT
from millrace.registry.promotion import PRODUCTION
from millrace.registry.types import VersionEntry
from millrace.targets.types import DeploymentSpec
from millrace.workspace import Workspace


def deploy_to_endpoint(  # noqa: PLR0917 - the world first, then what goes where
    workspace: Workspace,
    entry: VersionEntry,
    project: Project,
    place: Target,
    endpoint: str,
    open_server: OpenTarget,
    consent: Consent,
) -> StageResult:
    """Serve a version on an endpoint. On the endpoint that its pipeline names the alias moves with it, and approvals hold.

    Raises:
        InvalidState: the endpoint did not take it, or nobody has judged what would go to production.
        Conflict: another process is at the same pipeline.
    """
    begun, named = time.perf_counter(), f"{entry.model} v{entry.version}"
    facts = {"model": entry.model, "version": str(entry.version), "endpoint": endpoint}
    verdict, told = verdict_of(workspace, entry), deployment_of(workspace, entry)
    if verdict.get("results") is not None and not verdict.get("passed"):
        judged = verdict_result(place.name, named, verdict, facts)
        return StageResult("deploy", place.name, "refused", judged.summary, judged.checks, facts, hint=judged.hint)
    alias = PRODUCTION if endpoint == told.get("endpoint") else "staging" if endpoint == told.get("staging") else None
    if alias == PRODUCTION and not verdict:
        raise InvalidState(
            f"{named} was not judged yet", hint=f"`millrace validate {entry.model} {entry.version}` first"
        )
    approval: Approval | None = None
    if alias == PRODUCTION:
        try:
            approval = require_approval(workspace, entry, place, _guarded(project, place), consent)
        except NotApproved as error:
            return not_approved(place, error, (), facts, time.perf_counter() - begun)
    capture = told.get("capture") if alias == PRODUCTION else None
    spec = DeploymentSpec(endpoint, entry.model, str(entry.version), tuple(capture) if capture else None)
    checks = [approval.check] if approval else []
    with alone(workspace, entry.tags.get("millrace.pipeline", entry.model)):
        checks.append(_serve(open_server, spec))
        if alias is not None:
            deployed = {DEPLOYMENT: {"endpoint": told["endpoint"], "capture": told.get("capture")}}
            why, kept = _record(consent.reason or f"deployed to {endpoint}", approval)
            checks.append(move_alias(workspace, entry, alias, why, {**verdict, **kept, **deployed})[1])
    summary = f"{endpoint} serves {named}"
    return StageResult("deploy", place.name, "passed", summary, tuple(checks), facts, time.perf_counter() - begun)


def _record(why: str, approval: Approval | None) -> tuple[str, Mapping[str, object]]:
    """What the promotion log says of who approved."""
    if approval is None:
        return why, {}
    return approval.added_to(why), {"approval": approval.document()}


def _guarded(project: Project, place: Target) -> Target:
    """The target of this home that says whether production has to be approved."""
    same = [each for each in project.targets if not each.server and is_same_home(each, place)]
    return next((each for each in same if each.alias == PRODUCTION), place)


def _serve(open_server: OpenTarget, spec: DeploymentSpec) -> Check:
    with open_server() as target:
        status = target.deploy(spec)
    if status.state != "ready" or status.version != spec.version:
        raise InvalidState(
            f"endpoint {spec.endpoint} did not take v{spec.version}: {status.message or status.state}",
            hint=f"it still serves v{status.version}" if status.version else "see the server's log in the home's logs/",
        )
    return Check("endpoint", "passed", f"{spec.endpoint} serves v{spec.version}")
