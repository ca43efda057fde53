"""Approvals: who let which version go where, and why. Kept in the event log of the home that the version comes from, for good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from millrace.ci.types import Check, StageResult, Target
from millrace.core.errors import NotApproved, UsageError
from millrace.core.events import Event
from millrace.pipeline.rollback import rolled_back
from millrace.registry.types import VersionEntry
from millrace.workspace import Workspace

APPROVED = "promotion.approved"  # the event's kind


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval.

    Attributes:
        by: who approves, as they were named.
        told_by: the account that wrote it down.
    """

    by: str
    reason: str
    at: datetime
    told_by: str

    def document(self) -> dict[str, object]:
        """For the promotion log."""
        return {**asdict(self), "at": self.at.isoformat()}

    @property
    def check(self) -> Check:
        """A line for the reports."""
        return Check("approval", "passed", f"by {self.by}: {self.reason}")

    def added_to(self, why: str) -> str:
        """A promotion's reason with who approved it, for the log."""
        return f"{why}; approved by {self.by}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Consent:
    """What the caller brings along where an approval may be needed.

    Attributes:
        approve_as: who approves, now.
        reason: why.
        yes: go on without being asked; that is no approval.
        ask: asks the person at the terminal, and returns their reason; None where they say no, and in place of it where nobody is there.
    """

    approve_as: str | None = None
    reason: str | None = None
    yes: bool = False
    ask: Callable[[str], str | None] | None = None


def not_approved(
    to: Target, error: NotApproved, checks: Sequence[Check], told: Mapping[str, object], seconds: float
) -> StageResult:
    """Nobody has approved: what was done before stays done, and it can be run again."""
    checks = [*checks, Check("approval", "failed", error.message)]
    return StageResult("deploy", to.name, "refused", error.message, tuple(checks), told, seconds, error.hint)


def approve(workspace: Workspace, entry: VersionEntry, target: Target, by: str, reason: str) -> Approval:
    """Write an approval down. The same person's for the same version and target is written once, and once more after a rollback.

    Raises:
        UsageError: no name, or no reason.
    """
    if not by.strip() or not reason.strip():
        raise UsageError("an approval needs a name and a reason", hint='give --approve-as NAME --reason "..."')
    known = [each for each in approvals(workspace, entry, target) if each.by == by]
    if known:
        return known[-1]
    now, told_by = workspace.clock.now(), str(workspace.principal)
    data = {"version": str(entry.version), "run_id": entry.run_id, "target": target.name, "by": by, "reason": reason}
    workspace.events.append(Event(APPROVED, entry.model, now, workspace.principal, data))
    return Approval(by, reason, now, told_by)


def approvals(workspace: Workspace, entry: VersionEntry, target: Target) -> list[Approval]:
    """Those of a version for a target, oldest first; none from before a rollback that has taken it out of production."""
    left = rolled_back(workspace, entry.model, entry.version)
    found: list[Approval] = []
    after = 0
    while page := workspace.events.read(after=after, kind=APPROVED, subject=entry.model):
        found += [_approval(event) for event in page if _is_for(event.data, entry, target)]
        after = page[-1].cursor
    return [each for each in found if left is None or each.at >= left.at]


def require_approval(
    workspace: Workspace, entry: VersionEntry, place: Target, target: Target, consent: Consent
) -> Approval | None:
    """The approval for a version in a place (whose home `workspace` is) to go to a target; None where the target needs none.

    Raises:
        UsageError: `yes` where an approval is needed, or an approval without a reason.
        NotApproved: nobody has approved, and nobody is there to be asked.
    """
    if not target.approval:
        return None
    if consent.approve_as is not None:
        return approve(workspace, entry, target, consent.approve_as, consent.reason or "")
    known = approvals(workspace, entry, target)
    if known:
        return known[-1]
    if consent.yes:
        raise UsageError(
            f"target {target.name} needs an approval, which --yes is not", hint="give --approve-as NAME --reason TEXT"
        )
    named = f"{entry.model} v{entry.version}"
    reason = consent.ask(f"Approve {named} for {target.name}? Say why, or nothing to stop") if consent.ask else None
    if reason:
        return approve(workspace, entry, target, workspace.principal.name, reason)
    raise NotApproved(
        f"nobody has approved {named} for target {target.name}",
        hint=f"`millrace approve {entry.model} {entry.version} --from {place.name} --to {target.name} --reason TEXT`, and run this again",
        model=entry.model,
        version=str(entry.version),
        target=target.name,
    )


def _is_for(data: Mapping[str, object], entry: VersionEntry, target: Target) -> bool:
    return (data["version"], data["run_id"], data["target"]) == (str(entry.version), entry.run_id, target.name)


def _approval(event: Event) -> Approval:
    return Approval(str(event.data["by"]), str(event.data["reason"]), event.at, str(event.by))
