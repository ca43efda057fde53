"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from millrace.core.errors import UsageError

Home = Annotated[
    Path | None, Parameter(name="--home", help="The home directory; MILLRACE_HOME or ./.millrace by default.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object instead of text.")]
PipelineFile = Annotated[Path, Parameter(help="The file that defines the pipeline.")]
PipelineName = Annotated[
    str | None, Parameter(name="--pipeline", help="Which pipeline, where the file defines several.")
]
AsOf = Annotated[
    str | None,
    Parameter(name="--as-of", help="Read everything as of this time, as 2025-03-01 or 2025-03-01T06:00:00Z."),
]
TableVersions = Annotated[
    list[str],
    Parameter(
        name="--table-version",
        negative="",
        help="Read a table at a version, as bronze.transactions=12; may be repeated.",
    ),
]


def named_values(option: str, texts: Iterable[str], example: str, *, may_be_empty: bool = False) -> dict[str, str]:
    """The values of an option that is given as NAME=VALUE, by name; the last of a name wins.

    Raises:
        UsageError: one is not; the hint has the example.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and (value or may_be_empty)):
            raise UsageError(f"{option} {text} is not NAME=VALUE", hint=f"write {option} {example}")
        found[name] = value
    return found
