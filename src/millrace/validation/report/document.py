"""What a report is made from: a verdict as JSON, as `judge.as_json` gives it, with what is known of the model around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def headline(document: Document) -> str:
    """One line: whether it passed, and how many gates said what."""
    gates, no = len(document["gates"]), sum(not each["passed"] for each in document["gates"])
    if not gates:
        return "no gate was asked"
    return f"all {gates} gates passed" if no == 0 else f"{no} of {gates} gates said no"
