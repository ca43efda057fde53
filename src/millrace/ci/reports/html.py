"""A stage's result as a page of its own, without anything from elsewhere."""

from __future__ import annotations

import json

from millrace.ci.types import StageResult
from millrace.drawing.html import bullets, page_of, table


def to_html(result: StageResult) -> str:
    """The same as the Markdown says, as a page."""
    checks = [(check.name, check.status, check.detail, f"{check.seconds:.1f}") for check in result.checks]
    facts = [
        (name.replace("_", " "), _shown(value))
        for name, value in result.facts.items()
        if value not in (None, [], {}, "")
    ]
    sections = [
        table(["check", "", "why", "seconds"], checks) if checks else "",
        table(["", ""], facts) if facts else "",
    ]
    if result.hint:
        sections.append(bullets([result.hint]))
    return page_of(f"{result.stage} in {result.target}: {result.status}", result.summary, sections)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
