"""`millrace log` and `millrace rollback`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from millrace.registry.types import Promotion

Model = Annotated[str | None, Parameter(name="--model", help="Only this registered model.")]


def log(*, model: Model = None, home: Home = None, json: Json = False) -> int:
    """Print the promotions: who moved which alias, when, why, and from what verdict."""
    from millrace.registry.types import ModelName
    from millrace.workspace import require_home

    promotions = require_home(home).promotions.read(ModelName(model) if model else None)
    if json:
        print_json({"promotions": [_as_dict(promotion) for promotion in promotions]})
    elif promotions:
        rows = [_row(promotion) for promotion in promotions]
        print_table(["at", "model", "version", "alias", "replaced", "by", "why", "verdict"], rows)
    else:
        say("nothing was promoted yet")
    return 0


def rollback(
    model: Annotated[str | None, Parameter(help="The registered model; needed where the home has several.")] = None,
    *,
    why: Annotated[str, Parameter(help="For the log.")] = "rolled back by hand",
    home: Home = None,
    json: Json = False,
) -> int:
    """Put the version that production served before back into production: the endpoint first, then the alias."""
    from millrace.pipeline.rollback import roll_back
    from millrace.workspace import open_target, require_home

    workspace = require_home(home)
    try:
        done = roll_back(workspace, lambda: open_target(workspace), model, why)
    finally:
        workspace.close()
    if json:
        print_json(_as_dict(done))
    else:
        say(f"{done.model}: v{done.version} is back in production, v{done.replaced} is kept as the previous version")
    return 0


def _row(p: Promotion) -> tuple[object, ...]:
    replaced = f"v{p.replaced}" if p.replaced else None
    return (p.at, p.model, f"v{p.version}", p.alias, replaced, p.by, p.why, verdict_line(p.verdict))


def verdict_line(verdict: Mapping[str, object]) -> str | None:
    """The gates' verdict in a few words; None where no gates judged, as in a rollback."""
    results = verdict.get("results")
    if not isinstance(results, Sequence) or not results:
        return None
    passed = sum(bool(result["passed"]) for result in results)
    return f"{verdict.get('winner')}: {passed} of {len(results)} gates passed"


def _as_dict(promotion: object) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(promotion)  # type: ignore[call-overload,no-any-return]
