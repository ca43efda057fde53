"""The tokens of Spark SQL, with their places in the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from millrace.core.errors import InvalidInput

Kind = Literal["word", "quoted", "string", "number", "sign"]

_PATTERN = re.compile(
    r"""
    (?P<space> \s+ | --[^\n]* )
  | (?P<comment> /\* )
  | (?P<string> [rR]?' | [rR]?" )
  | (?P<quoted> `(?:[^`]|``)*` )
  | (?P<number> (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:BD|[LSYDF])?(?![A-Za-z_0-9]) )
  | (?P<word> [^\W\d]\w* | \d\w* )
  | (?P<sign> <=> | == | != | <> | <= | >= | \|\| | \|> | :: | => | -> | . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `word` (name or keyword), `quoted` (a name in backticks), `string`, `number` or `sign`.

    Attributes:
        text: as written.
        start: place of its first character.
        end: place after its last.
    """

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def keyword(self) -> str:
        """A word in capitals; a sign as it is; empty for all else."""
        if self.kind == "word":
            return self.text.upper()
        return self.text if self.kind == "sign" else ""

    @property
    def name(self) -> str:
        """A name without its backticks."""
        return self.text[1:-1].replace("``", "`") if self.kind == "quoted" else self.text

    @property
    def is_name(self) -> bool:
        """Whether it can be a part of a name."""
        return self.kind in {"word", "quoted"}


def tokens(text: str) -> list[Token]:
    """The tokens without spaces and comments.

    Raises:
        InvalidInput: a string, a name in backticks or a comment does not end.
    """
    found: list[Token] = []
    place = 0
    while place < len(text):
        match = _PATTERN.match(text, place)
        if match is None or match[0] == "`":
            raise _unended("a name in backticks", text, place)
        kind, end = str(match.lastgroup), match.end()
        if kind == "comment":
            end = _comment_end(text, place)
        elif kind == "string":
            end = _string_end(text, place, match[0])
        if kind not in {"space", "comment"}:
            found.append(Token(kind, text[place:end], place, end))  # type: ignore[arg-type]
        place = end
    return found


def string_value(token: Token) -> str:
    """What a string means: its escapes resolved, as Spark does it."""
    text = token.text
    if text[0] in "rR":
        return text[2:-1]
    inner = text[1:-1].replace(text[0] * 2, "\\" + text[0])
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), inner, flags=re.DOTALL)


def name_parts(text: str) -> tuple[str, ...] | None:
    """The parts of a name as it is given to `spark.table`; None where the text is something else."""
    try:
        found = tokens(text)
    except InvalidInput:
        return None
    parts, end = chain(found, 0)
    return parts if parts and end == len(found) and found[-1].is_name else None


def chain(found: Sequence[Token], place: int) -> tuple[tuple[str, ...], int]:
    """The name that starts at a token (`a.b.c`), and the index after it; no parts where there is no name."""
    parts: list[str] = []
    while place < len(found) and found[place].is_name:
        parts.append(found[place].name)
        if place + 1 >= len(found) or found[place + 1].text != ".":
            return tuple(parts), place + 1
        place += 2
    return tuple(parts), place


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "0": "\0", "Z": "\x1a", "%": "\\%", "_": "\\_"}


def _string_end(text: str, start: int, opening: str) -> int:
    mark, raw, place = opening[-1], len(opening) > 1, start + len(opening)
    while place < len(text):
        if text[place] == "\\" and not raw:
            place += 2
        elif text[place] == mark:
            if text[place : place + 2] != mark * 2 or raw:
                return place + 1
            place += 2
        else:
            place += 1
    raise _unended("a string", text, start)


def _comment_end(text: str, start: int) -> int:
    depth, place = 0, start
    while place < len(text):
        if text.startswith("/*", place):
            depth, place = depth + 1, place + 2
        elif text.startswith("*/", place):
            depth, place = depth - 1, place + 2
            if depth == 0:
                return place
        else:
            place += 1
    raise _unended("a comment", text, start)


def _unended(what: str, text: str, place: int) -> InvalidInput:
    return InvalidInput(f"{what} does not end in this SQL: {text[place : place + 40]!r}", hint="close it")
