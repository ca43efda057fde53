"""Promotion from one target to the next: copied with its lineage, approved where the target says so, served, and named."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from millrace.ci.approval import Approval, Consent, not_approved, require_approval
from millrace.ci.promotion.bundle import Bundle
from millrace.ci.promotion.pack import pack
from millrace.ci.promotion.receive import receive, require_needs
from millrace.ci.promotion.serve import Served, serve
from millrace.ci.stages.validate import verdict_result
from millrace.ci.types import Check, StageResult, Status, Target
from millrace.core.errors import InvalidInput, InvalidState, NotApproved, NotFound
from millrace.core.names import did_you_mean
from millrace.pipeline.context import OpenTarget
from millrace.pipeline.execute import alone
from millrace.registry.types import ModelName, ModelVersion, VersionEntry
from millrace.workspace import Workspace

_NEXT = "staging"  # the alias that is promoted where none is named


@dataclass(frozen=True, slots=True)
class Accepted:
    """A version at its new place."""

    version: str
    served: Served


class Destination(Protocol):
    """Where a version goes: a home, or a server. All calls are idempotent."""

    @property
    def place(self) -> str:
        """The home's folder or the server's URL."""
        ...

    def check(self, bundle: Bundle) -> None:
        """Raise InvalidState with what is missing there, before anything is asked or copied."""
        ...

    def accept(self, bundle: Bundle, folder: Path, terms: Terms) -> Accepted:
        """Receive it, serve it, and move the alias.

        Raises:
            Conflict: another process is at the same pipeline there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How a version is promoted.

    Attributes:
        deploy: whether it is put on its endpoint.
        approval: who approved; None where nobody had to.
    """

    target: str
    alias: str
    why: str
    deploy: bool = True
    approval: Mapping[str, object] | None = None


@dataclass(frozen=True)
class HomeDestination:
    """A home on this machine. `there` is the version where it is in this very home already: then nothing is copied."""

    workspace: Workspace
    open_server: OpenTarget
    there: VersionEntry | None = None

    @property
    def place(self) -> str:
        """The home's folder."""
        return str(self.workspace.home)

    def check(self, bundle: Bundle) -> None:
        """Look for all that the version needs."""
        require_needs(self.workspace, bundle, "the target")

    def accept(self, bundle: Bundle, folder: Path, terms: Terms) -> Accepted:
        """Receive it, serve it, and move the alias."""
        # A run of the pipeline, or a second promotion, would move the same aliases and store the version a second time.
        with alone(self.workspace, bundle.tags.get("millrace.pipeline", bundle.model)):
            entry = self.there or receive(self.workspace, bundle, folder)
            verdict = log_verdict(bundle, entry, terms)
            served = serve(
                self.workspace,
                entry,
                bundle,
                self.open_server,
                alias=terms.alias,
                why=terms.why,
                verdict=verdict,
                deploy=terms.deploy,
            )
        return Accepted(str(entry.version), served)


def promote_version(
    source: Workspace,
    entry: VersionEntry,
    place: Target,
    to: Target,
    destination: Destination,
    *,
    consent: Consent,
    deploy: bool = True,
) -> StageResult:
    """Promote a version. Twice is once; one that was killed half-way is completed.

    Args:
        source: the home that it comes from.
        entry: which version.
        place: that home's target.
        to: where it goes.
        destination: that target, opened.
        consent: the approval, or where it may come from.
        deploy: whether it is put on its endpoint there.

    Raises:
        InvalidState: nobody has judged it, or tables or features are missing there.
    """
    begun = time.perf_counter()
    facts: dict[str, object] = {"model": entry.model, "version": str(entry.version), "from": place.name, "to": to.name}
    facts |= {"from_home": str(source.home), "to_home": destination.place}
    with TemporaryDirectory(prefix="millrace-promotion-") as scratch:
        folder = Path(scratch)
        bundle = pack(source, entry, place.name, folder)
        refused = refused_by_gates(bundle, to, facts)
        if refused is not None:
            return refused
        destination.check(bundle)
        try:
            approval = require_approval(source, entry, place, to, consent)
        except NotApproved as error:
            return not_approved(to, error, (), facts, time.perf_counter() - begun)
        terms = Terms(
            to.name, to.alias, _why(place, approval, consent), deploy, approval.document() if approval else None
        )
        accepted = destination.accept(bundle, folder, terms)
    facts |= {"version_there": accepted.version, "digest": bundle.digest}
    facts |= {} if approval is None else {"approved_by": approval.by, "approval_reason": approval.reason}
    return _result(entry, to, accepted, bundle, approval, facts, time.perf_counter() - begun)


def find_version(workspace: Workspace, named: str) -> VersionEntry:
    """`model`, `model@alias` or `model/version`; of a model alone the version with the alias `staging`, else the newest.

    Raises:
        NotFound: there is no such model, alias or version.
        InvalidInput: both an alias and a version.
    """
    name, alias, number = _parts(named)
    model, registry = ModelName(name), workspace.registry
    known = registry.versions(model)
    if not known:
        raise NotFound(f"there is no model '{model}'", hint=did_you_mean(model, registry.models()))
    if number is not None:
        return registry.version(model, ModelVersion(number))
    if alias is not None:
        found = registry.by_alias(model, alias)
        if found is None:
            aliases = sorted({each for entry in known for each in entry.aliases})
            raise NotFound(f"{model} has no alias '{alias}'", hint=did_you_mean(alias, aliases))
        return found
    return registry.by_alias(model, _NEXT) or known[-1]


def refused_by_gates(bundle: Bundle, to: Target, facts: Mapping[str, object]) -> StageResult | None:
    """A refusal with its reasons, for a version that its gates have refused; None for one that they passed.

    Raises:
        InvalidState: nobody has judged it.
    """
    named = f"{bundle.model} v{bundle.source.version}"
    if not bundle.verdict:
        raise InvalidState(
            f"{named} was not judged yet", hint=f"`millrace validate {bundle.model} {bundle.source.version}` first"
        )
    if bundle.verdict.get("passed"):
        return None
    told = verdict_result(to.name, named, bundle.verdict, facts)
    return replace(told, stage="deploy")


def log_verdict(bundle: Bundle, entry: VersionEntry, terms: Terms) -> dict[str, object]:
    """What the promotion log keeps: the verdict as it was, where the version came from, and who approved."""
    verdict = {name: value for name, value in bundle.verdict.items() if name != "deployment"}
    verdict |= {"run_id": entry.run_id, "origin": [asdict(step) for step in bundle.origin], "digest": bundle.digest}
    return verdict if terms.approval is None else {**verdict, "approval": dict(terms.approval)}


def _parts(named: str) -> tuple[str, str | None, str | None]:
    rest, _, alias = named.partition("@")
    name, _, number = rest.partition("/")
    if (alias and number) or not name:
        raise InvalidInput(f"'{named}' names no version", hint="write MODEL, MODEL@ALIAS or MODEL/VERSION")
    return name, alias or None, number.removeprefix("v") or None


def _why(place: Target, approval: Approval | None, consent: Consent) -> str:
    if approval is not None:
        return approval.added_to(f"promoted from {place.name}")
    return f"promoted from {place.name}" + (f": {consent.reason}" if consent.reason else "")


def _result(  # noqa: PLR0917 - what is told of one promotion
    entry: VersionEntry,
    to: Target,
    accepted: Accepted,
    bundle: Bundle,
    approval: Approval | None,
    facts: Mapping[str, object],
    seconds: float,
) -> StageResult:
    checks = []
    if facts["from_home"] != facts["to_home"]:
        files = f"{len(bundle.files)} files of the model, equal by SHA-256, and {len(bundle.kept)} of its run"
        checks.append(Check("copied", "passed", f"v{accepted.version} in {to.name}: {files}"))
    if approval is not None:
        checks.append(approval.check)
    named = f"{entry.model} v{entry.version}"
    ended: dict[str, tuple[Status, str]] = {
        "done": ("passed", f"{named} is {to.alias} in {to.name}, as v{accepted.version} there"),
        "waiting": ("waiting", f"{named} is taking over in {to.name} by a canary"),
        "refused": ("refused", f"{named} was refused in {to.name}"),
    }
    status, summary = ended[accepted.served.status]
    return StageResult("deploy", to.name, status, summary, (*checks, *accepted.served.checks), facts, seconds)
