"""A verdict as Markdown, for the summary of a CI run or a comment on a change."""

from __future__ import annotations

import re

from millrace.validation.report.document import Document, headline

_SPECIAL = re.compile(r"([\\|`*_<>\[\]])")


def markdown(document: Document, title: str) -> str:
    """A heading, a table of the gates with their reasons, and the metrics.

    Args:
        document: `passed`, `gates` and `metrics` of `judge.as_json`; `intervals` (metric to low and high) where they are known.
        title: of the heading, as `customer_churn v3`.
    """
    lines = [f"## {_plain(title)}: {'passed' if document['passed'] else 'refused'}", "", f"{headline(document)}.", ""]
    lines += ["| gate | verdict | reason |", "|---|---|---|"]
    lines += [
        f"| {_plain(each['gate'])} | {'passed' if each['passed'] else '**no**'} | {_plain(each['reason'])} |"
        for each in document["gates"]
    ]
    return "\n".join([*lines, "", *_metrics(document)]) + "\n"


def _metrics(document: Document) -> list[str]:
    intervals = document.get("intervals", {})
    rows = []
    for name, value in document["metrics"].items():
        low, high = intervals.get(name) or (None, None)
        between = "" if low is None or high is None else f"{low:.4f} to {high:.4f}"
        rows.append(f"| {_plain(name)} | {'not defined' if value is None else f'{value:.4f}'} | {between} |")
    return ["| metric | value | 95 % interval |", "|---|---|---|", *rows] if rows else []


def _plain(words: str) -> str:
    """Words that Markdown takes as they are, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(words).split()))
