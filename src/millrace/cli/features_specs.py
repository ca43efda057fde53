"""`millrace features specs`: the named feature specs."""

from __future__ import annotations

import json as text
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from millrace.features.types import NamedFeatureSpec

Name = Annotated[str | None, Parameter(help="Show one spec: where its features come from.")]


def specs(name: Name = None, *, home: Home = None, json: Json = False) -> int:
    """List the named feature specs, or show one."""
    from millrace.features.feature_specs import spec_name
    from millrace.workspace import require_home

    workspace = require_home(home)
    try:
        store = workspace.feature_specs
        found = store.list() if name is None else [store.get(spec_name(name))]
    finally:
        workspace.close()
    if json:
        print_json({"feature_specs": [_as_dict(each) for each in found]})
    elif name is not None:
        _show(found[0])
    elif found:
        print_table(["spec", "features", "description", "owner", "changed"], [_row(each) for each in found])
    else:
        say("there is no feature spec yet; FeatureEngineeringClient.create_feature_spec makes one")
    return 0


def _show(each: NamedFeatureSpec) -> None:
    print_facts(
        {
            "spec": each.name,
            "description": each.description or None,
            "owner": each.owner,
            "made": each.created_at,
            "changed": each.updated_at,
        }
    )
    spec = each.spec
    print_table(
        ["from", "by", "features"],
        [
            *((one.table_name, ", ".join(one.keys), ", ".join(one.feature_names or ())) for one in spec.lookups),
            *((one.function.name, ", ".join(one.bindings.values()), one.output) for one in spec.functions),
        ],
    )
    say(f"serves {', '.join(spec.inputs)}")


def _row(each: NamedFeatureSpec) -> tuple[object, ...]:
    return each.name, ", ".join(each.spec.inputs), each.description or None, each.owner, each.updated_at


def _as_dict(each: NamedFeatureSpec) -> dict[str, object]:
    from millrace.features.spec import to_json

    return {
        "name": each.name,
        "features": list(each.spec.inputs),
        "description": each.description,
        "owner": each.owner,
        "created_at": each.created_at,
        "updated_at": each.updated_at,
        "spec": text.loads(to_json(each.spec)),
    }
