"""Options that the commands around targets share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from millrace.ci.approval import Consent

TargetName = Annotated[
    str | None,
    Parameter(name="--target", help="A target of millrace.toml; MILLRACE_TARGET, or the usual one for it, by default."),
]
ProjectPlace = Annotated[
    Path | None,
    Parameter(
        name="--project", help="The project's folder or its millrace.toml; looked for from here upwards by default."
    ),
]
Reports = Annotated[
    Path | None, Parameter(name="--reports", help="The folder for reports; ci-reports beside millrace.toml by default.")
]
ApproveAs = Annotated[
    str | None, Parameter(name="--approve-as", help="Who approves, where the target asks for it; needs --reason.")
]
Reason = Annotated[str | None, Parameter(name="--reason", help="Why, for the promotion log.")]
Junit = Annotated[Path | None, Parameter(name="--junit", help="Write the result into this file, as JUnit XML.")]
Markdown = Annotated[Path | None, Parameter(name="--markdown", help="Write the result into this file, as Markdown.")]
Yes = Annotated[bool, Parameter(name="--yes", negative="", help="Ask nothing. Refused where an approval is needed.")]


def consent_of(approve_as: str | None, reason: str | None, *, yes: bool = False, json: bool = False) -> Consent:
    """What was given, and a question to the person at the terminal where there is one."""
    from millrace.ci.approval import Consent

    there = sys.stdin.isatty() and sys.stderr.isatty() and not json
    return Consent(approve_as, reason, yes=yes, ask=_ask if there and not yes else None)


def _ask(question: str) -> str | None:
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() or None
