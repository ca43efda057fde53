"""Where a query names tables, and the query with those names replaced.

Only what stands where a table can stand counts (`FROM`, `JOIN`, a list after `FROM`, `TABLE t`), so that columns, aliases and
functions may have the names of tables, too. Names of common table expressions hide tables, as in SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from millrace.core.errors import InvalidInput
from millrace.lake.sql.tokens import Token, chain, string_value, tokens

_ENDS_LIST = frozenset(
    {
        "WHERE",
        "GROUP",
        "HAVING",
        "ORDER",
        "CLUSTER",
        "DISTRIBUTE",
        "SORT",
        "LIMIT",
        "OFFSET",
        "WINDOW",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        "MINUS",
        "SELECT",
        "PIVOT",
        "UNPIVOT",
        "QUALIFY",
        "SET",
    }
)
_OPENS_QUERY = frozenset({"SELECT", "WITH", "VALUES", "MAP", "REDUCE"})
_NOT_ALIAS = _ENDS_LIST | frozenset(
    {
        "JOIN",
        "INNER",
        "LEFT",
        "RIGHT",
        "FULL",
        "CROSS",
        "NATURAL",
        "SEMI",
        "ANTI",
        "OUTER",
        "ON",
        "USING",
        "LATERAL",
        "TABLESAMPLE",
        "INSERT",
        "FETCH",
        "WHEN",
        "THEN",
    }
)
_FROM_IS_ARGUMENT = frozenset({"EXTRACT", "TRIM", "SUBSTRING", "SUBSTR", "OVERLAY", "BTRIM", "LTRIM", "RTRIM"})
_BY_VERSION = frozenset({"VERSION", "SYSTEM_VERSION"})
_BY_TIME = frozenset({"TIMESTAMP", "SYSTEM_TIME"})


@dataclass(frozen=True, slots=True)
class Reference:
    """A place in a query where a table is named.

    Attributes:
        parts: the name's parts, without backticks.
        start: place of the name's first character.
        end: place after the name and its `VERSION AS OF`.
        version: what `VERSION AS OF` says.
        time: what `TIMESTAMP AS OF` says.
        has_alias: whether the query gives it a name of its own, or can't.
        alias_at: where such a name would stand.
        is_call: whether it is a table-valued function.
    """

    parts: tuple[str, ...]
    start: int
    end: int
    version: int | None = None
    time: str | None = None
    has_alias: bool = False
    alias_at: int = 0
    is_call: bool = False


@dataclass
class _Level:
    expects: bool = False
    listing: bool = False
    function: str = ""


def references(text: str) -> list[Reference]:
    """The tables that a query names, in the order of the text, without those that it defines itself.

    Raises:
        InvalidInput: a string or comment does not end, or a version or time is not a plain value.
    """
    found = tokens(text)
    defined = _defined(found)
    return [reference for reference in _scan(found) if not any(name.hides(reference) for name in defined)]


def replace(text: str, names: Callable[[Reference], str | None]) -> str:
    """The query with each table's name replaced by what `names` gives for it; None leaves it as it is.

    What is replaced goes on being called by its last part, unless the query gives it another name: columns may be qualified by that, or
    by the whole name.
    """
    changes: list[tuple[int, int, str]] = []
    short: dict[tuple[str, ...], str] = {}
    found = references(text)
    for reference in found:
        name = names(reference)
        if name is None:
            continue
        changes.append((reference.start, reference.end, quoted(name)))
        if not reference.has_alias:
            last = quoted(reference.parts[-1])
            changes.append((reference.alias_at, reference.alias_at, f" AS {last}"))
            if len(reference.parts) > 1:
                short[reference.parts] = last
    taken = {reference.start for reference in found}
    changes += [change for change in _qualified_columns(tokens(text), short) if change[0] not in taken]
    # From the end, so that places stay right; an alias that stands right behind its table comes after it.
    for start, end, name in sorted(changes, key=lambda change: (change[0], change[1]), reverse=True):
        text = text[:start] + name + text[end:]
    return text


def quoted(name: str) -> str:
    """A name in backticks."""
    return "`" + name.replace("`", "``") + "`"


@dataclass(frozen=True, slots=True)
class _Defined:
    """A common table expression: it hides tables from its end to the end of the query around it, and, recursive, in itself."""

    name: str
    start: int
    end: int
    query_end: int

    def hides(self, reference: Reference) -> bool:
        is_named = len(reference.parts) == 1 and reference.parts[0].lower() == self.name
        return is_named and self.start <= reference.start < self.query_end


def _scan(found: Sequence[Token]) -> list[Reference]:
    levels, references_, place = [_Level()], list[Reference](), 0
    while place < len(found):
        token, level = found[place], levels[-1]
        if token.text == "(" and token.kind == "sign":
            levels.append(_opened(level, found, place))
        elif token.text == ")" and token.kind == "sign":
            levels = levels[:-1] or [_Level()]
        elif token.text == "," and token.kind == "sign":
            level.expects = level.listing
        elif level.expects and token.is_name and token.keyword not in _OPENS_QUERY | {"LATERAL", "TABLE"}:
            reference, place = _reference(found, place)
            references_.append(reference)
            level.expects = False
            continue
        else:
            _step(level, found, place)
        place += 1
    return references_


def _opened(level: _Level, found: Sequence[Token], place: int) -> _Level:
    if level.expects:
        level.expects = False
        return _Level(expects=True, listing=True)
    before = found[place - 1].keyword if place else ""
    return _Level(function=before)


def _step(level: _Level, found: Sequence[Token], place: int) -> None:
    word = found[place].keyword
    if word in {"FROM", "JOIN"}:
        if not _from_is_argument(level, found, place):
            level.expects = level.listing = True
    elif word == "TABLE":
        level.expects = True
    elif word in _OPENS_QUERY and level.expects:
        level.expects = level.listing = False
    elif word in _ENDS_LIST or (word == "LATERAL" and _keyword(found, place + 1) == "VIEW"):
        level.listing = False


def _from_is_argument(level: _Level, found: Sequence[Token], place: int) -> bool:
    is_distinct = _keyword(found, place - 1) == "DISTINCT" and _keyword(found, place - 2) in {"IS", "NOT"}
    return is_distinct or level.function in _FROM_IS_ARGUMENT


def _reference(found: Sequence[Token], place: int) -> tuple[Reference, int]:
    start = found[place].start
    parts, after = chain(found, place)
    is_call = _keyword(found, after) == "("
    version, time, end = _pinned(found, after)
    alias = _after_sample(found, end)
    # After TABLE (`TABLE t`) an alias is not allowed: none may be added.
    has_alias = alias < len(found) and found[alias].is_name and found[alias].keyword not in _NOT_ALIAS
    has_alias = has_alias or _keyword(found, place - 1) == "TABLE"
    return (
        Reference(parts, start, found[end - 1].end, version, time, has_alias, found[alias - 1].end, is_call),
        end,
    )


def _after_sample(found: Sequence[Token], place: int) -> int:
    """Index after `TABLESAMPLE (...) [REPEATABLE (...)]`, which stands between a table and its alias."""
    for word in ("TABLESAMPLE", "REPEATABLE"):
        if _keyword(found, place) == word and _keyword(found, place + 1) == "(":
            place = min(_closing(found)[place + 1] + 1, len(found))
    return place


def _pinned(found: Sequence[Token], place: int) -> tuple[int | None, str | None, int]:
    by = place + (_keyword(found, place) == "FOR")
    what = _keyword(found, by)
    if what not in _BY_VERSION | _BY_TIME or [_keyword(found, by + 1), _keyword(found, by + 2)] != ["AS", "OF"]:
        return None, None, place
    value = by + 3
    if what in _BY_TIME and _keyword(found, value) in {"TIMESTAMP", "DATE"}:
        value += 1
    token = found[value] if value < len(found) else None
    if token is not None and what in _BY_VERSION and token.text.strip("'\"").isdecimal():
        return int(token.text.strip("'\"")), None, value + 1
    if token is not None and what in _BY_TIME and token.kind == "string":
        return None, string_value(token), value + 1
    raise InvalidInput(
        f"{what} AS OF takes a plain {'version number' if what in _BY_VERSION else 'time'} here",
        hint="write VERSION AS OF 3, or TIMESTAMP AS OF '2025-03-01T06:00:00Z'",
    )


def _defined(found: Sequence[Token]) -> list[_Defined]:
    closes = _closing(found)
    result, recursive = [], False
    for place, token in enumerate(found):
        recursive = recursive or token.keyword == "RECURSIVE"
        body = _body(found, place, closes)
        if body is None:
            continue
        around = [closes[o] for o in closes if o < place < closes[o]]
        query_end = found[min(around)].start if around and min(around) < len(found) else found[-1].end
        start = token.start if recursive else found[min(closes[body], len(found) - 1)].end
        result.append(_Defined(token.name.lower(), start, closes[body], query_end))
    return result


def _body(found: Sequence[Token], place: int, closes: dict[int, int]) -> int | None:
    """Index of the bracket that opens the body of a common table expression whose name stands here."""
    if not found[place].is_name or _keyword(found, place - 1) not in {"WITH", ",", "RECURSIVE"} or not place:
        return None
    after = place + 1
    if _keyword(found, after) == "(":
        after = closes[after] + 1
    if _keyword(found, after) == "AS" and _keyword(found, after + 1) == "(":
        return after + 1
    return None


def _closing(found: Sequence[Token]) -> dict[int, int]:
    """Index of each opening bracket to that of its closing one; the text's end where it has none."""
    closes: dict[int, int] = {}
    opened: list[int] = []
    for place, token in enumerate(found):
        if token.kind == "sign" and token.text == "(":
            opened.append(place)
        elif token.kind == "sign" and token.text == ")" and opened:
            closes[opened.pop()] = place
    return closes | dict.fromkeys(opened, len(found))


def _qualified_columns(found: Sequence[Token], short: dict[tuple[str, ...], str]) -> list[tuple[int, int, str]]:
    """`schema.table.column` as `table.column`, for tables that are called by their last part now."""
    changes, place = [], 0
    while place < len(found):
        parts, after = chain(found, place)
        for name, last in short.items():
            # A star is no name: `schema.table.*` is the table's whole chain and a dot.
            is_star = parts == name and _keyword(found, after) == "*"
            if (len(parts) > len(name) or is_star) and parts[: len(name)] == name:
                changes.append((found[place].start, found[place + 2 * len(name) - 2].end, last))
        place = max(after, place + 1)
    return changes


def _keyword(found: Sequence[Token], place: int) -> str:
    return found[place].keyword if 0 <= place < len(found) else ""
