"""Pages that need nothing else: one file with its style, in light and dark, for wide and narrow screens."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

_STYLE = Path(__file__).with_name("page.css")


def page_of(title: str, subtitle: str, sections: Sequence[str]) -> str:
    """A whole page. Title and subtitle are words; sections are HTML."""
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>\n{_STYLE.read_text()}</style></head>\n'
        f"<body><main>\n<h1>{escape(title)}</h1>\n<p class='sub'>{escape(subtitle)}</p>\n{body}\n</main></body></html>\n"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of words; where it is wider than the screen it scrolls by itself."""
    if not rows:
        return "<p class='note'>None.</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def bullets(items: Sequence[str]) -> str:
    """A list of sentences."""
    return "<ul>" + "".join(f"<li>{escape(sentence(item))}</li>" for item in items) + "</ul>"


def sentence(words: str) -> str:
    """With a capital letter and a full stop."""
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")
