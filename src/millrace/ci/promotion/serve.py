"""Serving a version that was received: on the endpoint first, asked there, then the alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from millrace.ci.promotion.alias import move_alias
from millrace.ci.promotion.bundle import Bundle
from millrace.ci.types import Check
from millrace.features.spec import from_json
from millrace.pipeline.context import OpenTarget
from millrace.pipeline.rollback import DEPLOYMENT
from millrace.pipeline.smoke import compare_answers
from millrace.pipeline.stages.deploy import deploy_whole, take_over
from millrace.registry.promotion import PRODUCTION
from millrace.registry.types import Promotion, VersionEntry
from millrace.targets.port import DeploymentTarget
from millrace.targets.types import DeploymentSpec, DeploymentStatus
from millrace.training.models import feature_spec_of, load_native
from millrace.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.features.types import FeatureSpec

_ROWS = 20


@dataclass(frozen=True, slots=True)
class Served:
    """What became of a version at its place.

    Attributes:
        status: `waiting` where a canary is under way: the alias has not moved yet; `refused` where a canary or an answer said no.
        promotion: the alias's move; None where it did not move.
    """

    status: Literal["done", "waiting", "refused"]
    checks: tuple[Check, ...]
    promotion: Promotion | None = None


def serve(
    workspace: Workspace,
    entry: VersionEntry,
    bundle: Bundle,
    open_server: OpenTarget,
    *,
    alias: str,
    why: str,
    verdict: Mapping[str, object],
    deploy: bool = True,
) -> Served:
    """Deploy, ask, move the alias. Where the version is served and named already, nothing is done.

    Args:
        workspace: the home that received it.
        entry: the version there.
        bundle: as it was packed.
        open_server: opens the home's server.
        alias: `production` goes to the production endpoint, all others to the staging endpoint.
        why: for the promotion log.
        verdict: for the promotion log.
        deploy: whether it is put on an endpoint; without, only the alias moves.
    """
    spec = spec_of(bundle, entry, alias) if deploy else None
    checks: list[Check] = []
    if spec is not None:
        with open_server() as target:
            before = target.status(spec.endpoint)
            begun = take_over(target, spec)
            if begun is not None and begun.outcome != "finished":
                status: Literal["waiting", "refused"] = "waiting" if begun.outcome == "running" else "refused"
                said = f"canary of v{entry.version} on {spec.endpoint}: {begun.share} % of the traffic; {begun.message}"
                return Served(status, (Check("canary", "waiting" if status == "waiting" else "failed", said),))
            checks.append(Check("endpoint", "passed", f"{spec.endpoint} serves v{entry.version}"))
            checks.append(asked := _asked(workspace, entry, spec, target))
            if asked.status == "failed":
                checks.append(_put_back(workspace, entry, spec, target, alias, before))
                return Served("refused", tuple(checks))
        verdict = {
            **verdict,
            DEPLOYMENT: {"endpoint": spec.endpoint, "capture": list(spec.capture) if spec.capture else None},
        }
    moved, told = move_alias(workspace, entry, alias, why, verdict)
    return Served("done", (*checks, told), moved)


def _put_back(  # noqa: PLR0917 - the world first, then what is taken back where
    workspace: Workspace,
    entry: VersionEntry,
    spec: DeploymentSpec,
    target: DeploymentTarget,
    alias: str,
    before: DeploymentStatus | None,
) -> Check:
    """Serve what the alias names: a version that was refused must not go on answering because it was asked on its endpoint."""
    named = workspace.registry.by_alias(entry.model, alias)
    if named is not None:
        deploy_whole(target, replace(spec, version=str(named.version), canary=None))
        return Check("put back", "passed", f"{spec.endpoint} serves v{named.version}, which {alias} names")
    if before is None or before.version in {None, spec.version}:
        target.remove(spec.endpoint)
        return Check("put back", "passed", f"{spec.endpoint} is removed: no version had the alias {alias} before")
    back = target.roll_back(spec.endpoint, f"v{entry.version} was refused")
    return Check("put back", "passed", f"{spec.endpoint} serves v{back.version}, as before")


def spec_of(bundle: Bundle, entry: VersionEntry, alias: str) -> DeploymentSpec | None:
    """Where a version is served under an alias; None where its deployment is not known."""
    told: Mapping[str, Any] = bundle.deployment
    if not told:
        return None
    if alias != PRODUCTION:
        return DeploymentSpec(str(told["staging"]), entry.model, str(entry.version))
    capture = told.get("capture")
    spec = DeploymentSpec(str(told["endpoint"]), entry.model, str(entry.version), tuple(capture) if capture else None)
    return replace(spec, canary=told.get("canary"))


def _asked(workspace: Workspace, entry: VersionEntry, spec: DeploymentSpec, target: DeploymentTarget) -> Check:
    """Does the endpoint answer what the model answers here, with features that are looked up here?"""
    folder = workspace.registry.download(entry.model, entry.version)
    text = feature_spec_of(folder)
    lookups = from_json(text) if text else None
    if lookups is None or not lookups.lookups or lookups.request_columns:
        return Check("answers", "skipped", "the model's requests are not made of keys alone")
    requests, time = _some_keys(workspace, lookups)
    if requests is None:
        return Check("answers", "skipped", "the lookups are by different keys, or their tables are empty")
    ask = partial(target.query, spec.endpoint)
    found = compare_answers(workspace, ask, lookups, requests, time, load_native(folder))
    if found.differing:
        return Check(
            "answers", "failed", f"{found.differing} of {found.rows} answers of {spec.endpoint} differ: {found.example}"
        )
    return Check("answers", "passed", f"{found.rows} answers over HTTP, all equal to offline")


def _some_keys(workspace: Workspace, spec: FeatureSpec) -> tuple[pa.Table | None, str]:
    """Keys of the first lookup's table, evenly spread, where all lookups go by the same."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    first = spec.lookups[0]
    times = {lookup.timestamp_lookup_key for lookup in spec.lookups}
    if len({tuple(lookup.keys) for lookup in spec.lookups}) > 1 or len(times) > 1:
        return None, ""
    keys = list(workspace.lake.entry(first.table_name).definition.primary_keys)
    rows = workspace.lake.read(first.table_name, columns=keys).group_by(keys).aggregate([])
    rows = rows.filter(pc.is_valid(rows.column(0))).sort_by([(key, "ascending") for key in keys])
    if not rows.num_rows:
        return None, ""
    some = rows.take(np.unique(np.linspace(0, rows.num_rows - 1, _ROWS).astype(int))).rename_columns(list(first.keys))
    time = next(iter(times)) or "millrace_asked_at"
    now = pa.repeat(pa.scalar(workspace.clock.now(), pa.timestamp("us", "UTC")), some.num_rows)
    return some.append_column(time, now), time
