"""The last act of a release: an alias on a version that is served already."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.ci.types import Check
from millrace.registry.promotion import promote
from millrace.registry.types import Promotion, VersionEntry
from millrace.workspace import Workspace


def move_alias(
    workspace: Workspace, entry: VersionEntry, alias: str, why: str, verdict: Mapping[str, object]
) -> tuple[Promotion, Check]:
    """Move it by the promotion rules; what is told of it has the time at which it moved, which may be an earlier one."""
    moved = promote(
        workspace.registry,
        workspace.promotions,
        workspace.events,
        workspace.clock,
        workspace.principal,
        model=entry.model,
        version=entry.version,
        alias=alias,
        why=why,
        verdict=verdict,
    )
    return moved, Check("alias", "passed", f"{alias} is v{entry.version}, since {moved.at:%Y-%m-%d %H:%M}")
