"""`:name` in a query, as people know it from other platforms, in the words that DuckDB has for it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import duckdb  # noqa: TID253 - this is its adapter

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

_NAME = re.compile(r"[^\W\d]\w*")
# After one of these, without a space, a colon parts the ends of a slice or a key from its value.
_VALUES = {duckdb.token_type.identifier, duckdb.token_type.numeric_const, duckdb.token_type.string_const}


def with_markers(sql: str, given: Collection[str]) -> str:
    """The query with `$name` for each `:name` that stands for a value: not in texts, comments, casts (`::`) or slices.

    Raises:
        InvalidInput: a `:name` is not given, or one that is given has no `:name`.
    """
    found = list(_markers(sql))
    for name in (name for _, name in found if name not in given):
        hint = did_you_mean(name, given) if given else f"give a parameter '{name}'"
        raise InvalidInput(f"the query has :{name}, and there is no such parameter", hint=hint)
    unused = sorted(set(given) - {name for _, name in found})
    if unused:
        hint = f"write :{unused[0]} where its value goes, or leave the parameter out"
        raise InvalidInput(f"the query has no :{unused[0]}, which is a parameter", hint=hint)
    for place, _ in reversed(found):
        sql = f"{sql[:place]}${sql[place + 1 :]}"
    return sql


def _markers(sql: str) -> Iterator[tuple[int, str]]:
    """Place of the colon, and name."""
    before: tuple[int, duckdb.token_type] | None = None
    # DuckDB counts bytes of UTF-8.
    text = sql.encode()
    for place, kind in duckdb.tokenize(sql):
        name = _NAME.match(text[place + 1 :].decode()) if text[place : place + 1] == b":" else None
        if kind == duckdb.token_type.operator and name is not None and not _is_within(text, before, place):
            yield len(text[:place].decode()), name[0]
        before = (place, kind)


def _is_within(text: bytes, before: tuple[int, duckdb.token_type] | None, place: int) -> bool:
    """Whether a colon belongs to a slice, a struct or a cast."""
    if before is None or text[place - 1 : place].isspace():
        return False
    return before[1] in _VALUES or text[place - 1 : place] in b")]}:"
