"""A stage's result as Markdown: for a step's summary, a merge request, or a mail."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.ci.types import StageResult

_MARKS = {"passed": "✅", "failed": "❌", "skipped": "⏭️", "waiting": "⏳", "refused": "❌"}
_TITLES = {"passed": "passed", "failed": "failed", "refused": "refused", "waiting": "under way"}


def to_markdown(result: StageResult) -> str:
    """A heading, a sentence, a table of checks, and the facts."""
    lines = [
        f"## {_MARKS[result.status]} {result.stage} in {result.target}: {_TITLES[result.status]}",
        "",
        _text(result.summary),
        "",
    ]
    if result.checks:
        lines += ["| | check | | seconds |", "|---|---|---|--:|"]
        lines += [
            f"| {_MARKS[check.status]} | {_cell(check.name)} | {_cell(check.detail)} | {check.seconds:.1f} |"
            for check in result.checks
        ]
        lines.append("")
    facts = {name: value for name, value in result.facts.items() if value not in (None, [], {}, "")}
    lines += [f"- **{name.replace('_', ' ')}**: {_fact(value)}" for name, value in facts.items()]
    if result.hint:
        lines += ["", f"> {_text(result.hint)}"]
    return "\n".join(lines).rstrip() + "\n"


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact(each)}" for name, each in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_fact, value))
    return f"`{str(value).replace('`', '')}`"


def _text(text: str) -> str:
    """Text that comes from data may hold what Markdown or HTML would take for its own."""
    escaped = text.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "`*_[]#":
        escaped = escaped.replace(mark, "\\" + mark)
    return escaped


def _cell(text: str) -> str:
    return " ".join(_text(text).replace("|", "\\|").split())
