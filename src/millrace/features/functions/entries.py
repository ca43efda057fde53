"""Feature functions as JSON values: in a model's spec, and in the home."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millrace.features.types import BoundFunction, FunctionDefinition, Parameter


def definition_out(definition: FunctionDefinition) -> dict[str, object]:
    """All of a definition, as JSON values."""
    return {
        "name": definition.name,
        "entry": definition.entry,
        "source": definition.source,
        "parameters": [
            {"name": each.name, "type": each.type, "nullable": each.nullable, "required": each.required}
            for each in definition.parameters
        ],
        "returns": definition.returns,
        "returns_null": definition.returns_null,
        "code_hash": definition.code_hash,
    }


def definition_in(body: Mapping[str, Any]) -> FunctionDefinition:
    """What `definition_out` wrote. Raises KeyError or TypeError where it did not."""
    return FunctionDefinition(
        name=body["name"],
        entry=body["entry"],
        source=body["source"],
        parameters=tuple(
            Parameter(each["name"], each["type"], each["nullable"], each["required"]) for each in body["parameters"]
        ),
        returns=body["returns"],
        returns_null=body["returns_null"],
        code_hash=body["code_hash"],
    )


def bound_out(bound: BoundFunction) -> dict[str, object]:
    """A function with its columns, as JSON values. Bindings are pairs: their order counts."""
    return {
        "function": definition_out(bound.function),
        "version": bound.version,
        "bindings": [[name, column, bound.types[name]] for name, column in bound.bindings.items()],
        "output": bound.output,
    }


def bound_in(body: Mapping[str, Any]) -> BoundFunction:
    """What `bound_out` wrote. Raises KeyError, TypeError or ValueError where it did not."""
    return BoundFunction(
        function=definition_in(body["function"]),
        version=body["version"],
        bindings={name: column for name, column, _ in body["bindings"]},
        output=body["output"],
        types={name: kind for name, _, kind in body["bindings"]},
    )
