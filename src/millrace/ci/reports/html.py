"""A stage's result as a page of its own, without anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape

from millrace.ci.types import StageResult

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b2733; background: #fff }
h1 { font-size: 1.4rem } .mark { border-radius: 4px; padding: .1rem .5rem; color: #fff; font-size: .9rem }
.passed { background: #1f7a4d } .failed, .refused { background: #b3261e } .waiting { background: #0b63a5 } .skipped { background: #6b7680 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 } th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #d8dee4; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums } code { background: #f2f5f7; padding: .1rem .3rem; overflow-wrap: anywhere }
.hint { border-left: 4px solid #0b63a5; padding: .3rem .8rem; background: #f2f5f7 }
@media (prefers-color-scheme: dark) { body { background: #14191f; color: #dfe6ec } th, td { border-color: #313b45 } code, .hint { background: #20272f } }
"""


def to_html(result: StageResult) -> str:
    """The same as the Markdown says, as a page."""
    checks = [
        f'<tr><td>{_mark(check.status)}</td><td>{escape(check.name)}</td><td>{escape(check.detail)}</td><td class="number">{check.seconds:.1f}</td></tr>'
        for check in result.checks
    ]
    facts = [
        f"<tr><th>{escape(name.replace('_', ' '))}</th><td><code>{escape(_shown(value))}</code></td></tr>"
        for name, value in result.facts.items()
        if value not in (None, [], {}, "")
    ]
    title = f"{result.stage} in {result.target}"
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)} {_mark(result.status)}</h1><p>{escape(result.summary)}</p>",
            f'<p class="hint">{escape(result.hint)}</p>' if result.hint else "",
            *_table(["", "check", "", "seconds"], checks),
            *_table([], facts),
            "</body></html>\n",
        ]
    )


def _mark(status: str) -> str:
    return f'<span class="mark {status}">{status}</span>'


def _table(heads: list[str], rows: list[str]) -> Iterable[str]:
    if not rows:
        return []
    head = "<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>" if heads else ""
    return ["<table>", head, *rows, "</table>"]


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
