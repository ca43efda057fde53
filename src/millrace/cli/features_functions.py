"""`millrace features functions`: the registered feature functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from millrace.features.types import FunctionDefinition, FunctionVersion

Name = Annotated[str | None, Parameter(help="Show one function: its versions, and the source of the newest.")]


def functions(name: Name = None, *, home: Home = None, json: Json = False) -> int:
    """List the registered feature functions, or show one with its source."""
    from millrace.features.functions.source import function_name
    from millrace.workspace import require_home

    workspace = require_home(home)
    try:
        store = workspace.functions
        found = store.list() if name is None else store.versions(function_name(name))
    finally:
        workspace.close()
    if json:
        print_json({"functions": [_as_dict(each) for each in found]})
    elif name is not None:
        _show(found[-1], versions=len(found))
    elif found:
        columns = ["function", "version", "signature", "description", "owner", "since"]
        print_table(columns, [_row(each) for each in found])
    else:
        say("no function is registered yet")
    return 0


def _show(newest: FunctionVersion, *, versions: int) -> None:
    print_facts(
        {
            "function": newest.definition.name,
            "version": f"{newest.version} of {versions}",
            "signature": _signature(newest.definition),
            "description": newest.description or None,
            "owner": newest.owner,
            "since": newest.created_at,
            "code hash": newest.definition.code_hash,
        }
    )
    say("")
    say(newest.definition.source.rstrip())


def _row(each: FunctionVersion) -> tuple[object, ...]:
    described = each.description or None
    return (
        each.definition.name,
        f"v{each.version}",
        _signature(each.definition),
        described,
        each.owner,
        each.created_at,
    )


def _signature(definition: FunctionDefinition) -> str:
    """As Python writes it: `(amount: Decimal | None, rate: float = ...) -> float`."""
    given = [
        f"{each.name}: {each.type}{' | None' if each.nullable else ''}{'' if each.required else ' = ...'}"
        for each in definition.parameters
    ]
    return f"({', '.join(given)}) -> {definition.returns}{' | None' if definition.returns_null else ''}"


def _as_dict(each: FunctionVersion) -> dict[str, object]:
    definition = each.definition
    return {
        "name": definition.name,
        "version": each.version,
        "signature": _signature(definition),
        "description": each.description,
        "owner": each.owner,
        "created_at": each.created_at,
        "code_hash": definition.code_hash,
        "source": definition.source,
    }
