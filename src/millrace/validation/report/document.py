"""What a report is made from: a verdict as JSON, as `judge.as_json` gives it, with what is known of the model around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def missed(document: Document) -> int:
    """How many gates said no."""
    return sum(not each["passed"] for each in document["gates"])


def headline(document: Document) -> str:
    """One line: whether it passed, and how many gates said what."""
    gates, no = len(document["gates"]), missed(document)
    if not gates:
        return "no gate was asked"
    return f"all {gates} gates passed" if no == 0 else f"{no} of {gates} gates said no"
