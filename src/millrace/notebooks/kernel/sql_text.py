"""A `%sql` cell's text: its statements, and the parameters in them."""

from __future__ import annotations

import re

# Texts, names in backquotes, and comments, in which nothing counts; and what does.
_TOKEN = re.compile(
    r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|(?P<end>;)|(?<![:\w]):(?P<name>[A-Za-z_]\w*)",
    re.DOTALL,
)


def statements(text: str) -> list[str]:
    """The statements of a text, without the semicolons between them and without those that are empty."""
    ends = [found.start() for found in _TOKEN.finditer(text) if found["end"]]
    parts = [text[start:end] for start, end in zip([0, *(end + 1 for end in ends)], [*ends, len(text)], strict=True)]
    return [part.strip() for part in parts if _has_code(part)]


def parameters_of(statement: str) -> list[str]:
    """The names that stand in a statement as `:name`, in order, each once."""
    return list(dict.fromkeys(found["name"] for found in _TOKEN.finditer(statement) if found["name"]))


def _has_code(part: str) -> bool:
    left = _TOKEN.sub(lambda found: "" if found[0].startswith(("--", "/*")) else found[0], part)
    return bool(left.strip())
