"""What a SQL statement does with tables of the lake: queries go to the engine, changes go through the lake's writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from millrace.core.errors import InvalidInput
from millrace.lake.sql.tokens import Token, chain, string_value, tokens

Parts = tuple[str, ...]
_OPENS_QUERY = frozenset({"SELECT", "WITH", "VALUES", "FROM", "TABLE", "("})
_CHANGES_TABLE = frozenset({"ALTER", "TRUNCATE", "REPAIR", "MSCK", "ANALYZE"})


@dataclass(frozen=True, slots=True)
class Query:
    """Anything that the lake has no part in but to lend its tables."""


@dataclass(frozen=True, slots=True)
class CreateTable:
    """`CREATE TABLE`, of a query's rows or empty.

    Attributes:
        columns: what stands in the brackets after the name; None where there are none.
        query: the query after AS; None where there is none.
        provider: what `USING` says; empty where it says nothing.
    """

    name: Parts
    is_replace: bool
    is_optional: bool
    columns: str | None
    query: str | None
    partitions: Parts
    provider: str
    comment: str


@dataclass(frozen=True, slots=True)
class Insert:
    """`INSERT INTO` or `INSERT OVERWRITE`; `columns` are empty where the statement names none."""

    name: Parts
    columns: Parts
    query: str
    is_overwrite: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """`DELETE FROM`; an empty predicate means all rows."""

    name: Parts
    predicate: str


@dataclass(frozen=True, slots=True)
class Drop:
    """`DROP TABLE`."""

    name: Parts
    is_optional: bool


@dataclass(frozen=True, slots=True)
class Describe:
    """`DESCRIBE TABLE` or `DESCRIBE HISTORY`."""

    name: Parts
    is_history: bool


@dataclass(frozen=True, slots=True)
class ShowTables:
    """`SHOW TABLES [IN schema]`."""

    schema: Parts


@dataclass(frozen=True, slots=True)
class CreateView:
    """`CREATE VIEW`, which needs TEMPORARY here."""

    name: Parts
    query: str
    is_replace: bool
    is_temporary: bool


@dataclass(frozen=True, slots=True)
class CreateSchema:
    """`CREATE SCHEMA`: schemas are there as soon as a table is in them."""

    name: Parts


@dataclass(frozen=True, slots=True)
class Other:
    """A statement that would change a table, a schema or where names are looked up, in a way that the lake has not."""

    what: str
    name: Parts


Statement = Query | CreateTable | Insert | Delete | Drop | Describe | ShowTables | CreateView | CreateSchema | Other


def statement(text: str) -> Statement:
    """What a statement does.

    Raises:
        InvalidInput: it is one of the lake's own kinds, but can't be read.
    """
    words = _Words(text, tokens(text))
    first, second = words.peek(), words.peek(1)
    if first == "REPLACE" and second != "TABLE":
        return Query()
    if first == "SHOW" and second != "TABLES":
        return Query()
    return _READERS.get(first, _other)(words)


class _Words:
    """The tokens of a statement, read from left to right."""

    def __init__(self, text: str, found: Sequence[Token]) -> None:
        self.text = text
        while found and found[-1].text == ";":
            found = found[:-1]
        self.found = found
        self.place = 0

    def peek(self, ahead: int = 0) -> str:
        place = self.place + ahead
        return self.found[place].keyword if place < len(self.found) else ""

    def take(self, *words: str) -> bool:
        """Step over these words where they stand here, all in a row."""
        if [self.peek(i) for i in range(len(words))] != list(words):
            return False
        self.place += len(words)
        return True

    def name(self) -> Parts:
        parts, after = chain(self.found, self.place)
        if not parts:
            raise self.wrong("a table's name")
        self.place = after
        return parts

    def rest(self) -> str:
        if self.place >= len(self.found):
            return ""
        return self.text[self.found[self.place].start : self.found[-1].end]

    def brackets(self) -> str:
        """What stands between the brackets that open here."""
        start, depth = self.place, 0
        while self.place < len(self.found):
            depth += {"(": 1, ")": -1}.get(self.peek(), 0)
            self.place += 1
            if depth == 0:
                return self.text[self.found[start].end : self.found[self.place - 1].start]
        raise self.wrong("a closing bracket")

    def wrong(self, wanted: str) -> InvalidInput:
        here = self.rest()[:40] or "its end"
        return InvalidInput(f"this SQL should have {wanted} at: {here}", hint="check the statement", sql=self.text)


def _create(words: _Words) -> Statement:
    is_replace = not words.take("CREATE") or words.take("OR", "REPLACE")
    words.take("REPLACE")
    is_global = words.take("GLOBAL")
    is_temporary = words.take("TEMPORARY") or words.take("TEMP")
    if words.take("VIEW"):
        return _view(words, is_replace=is_replace, is_temporary=is_temporary and not is_global)
    if words.take("SCHEMA") or words.take("DATABASE"):
        words.take("IF", "NOT", "EXISTS")
        return CreateSchema(words.name())
    words.take("EXTERNAL")
    if not words.take("TABLE"):
        return Query()  # a function, a variable: the engine's own
    return _table(words, is_replace=is_replace)


def _view(words: _Words, *, is_replace: bool, is_temporary: bool) -> Statement:
    words.take("IF", "NOT", "EXISTS")
    name = words.name()
    if not words.take("AS"):
        return Other("CREATE VIEW with more than a query", name)
    return CreateView(name, words.rest(), is_replace, is_temporary)


def _table(words: _Words, *, is_replace: bool) -> Statement:
    is_optional = words.take("IF", "NOT", "EXISTS")
    name = words.name()
    columns = words.brackets() if words.peek() == "(" else None
    partitions: Parts = ()
    provider = comment = ""
    while words.peek() and words.peek() not in _OPENS_QUERY | {"AS"}:
        if words.take("USING"):
            provider = ".".join(words.name()).lower()
        elif words.take("PARTITIONED", "BY"):
            partitions = _names(words)
        elif words.take("COMMENT"):
            comment = string_value(words.found[words.place])
            words.place += 1
        else:
            return Other(f"CREATE TABLE with {words.peek()}", name)
    words.take("AS")
    return CreateTable(name, is_replace, is_optional, columns, words.rest() or None, partitions, provider, comment)


def _insert(words: _Words) -> Statement:
    words.take("INSERT")
    is_overwrite = words.take("OVERWRITE")
    if not is_overwrite and not words.take("INTO"):
        raise words.wrong("INTO")
    words.take("TABLE")
    name = words.name()
    columns = _names(words) if words.peek() == "(" and words.peek(1) not in _OPENS_QUERY else ()
    if words.peek() not in _OPENS_QUERY:
        return Other(f"INSERT with {words.peek()}", name)
    return Insert(name, columns, words.rest(), is_overwrite)


def _delete(words: _Words) -> Statement:
    words.take("DELETE")
    words.take("FROM")
    name = words.name()
    if not words.peek():
        return Delete(name, "")
    if not words.take("WHERE"):
        return Other(f"DELETE with {words.peek()}", name)
    return Delete(name, words.rest())


def _drop(words: _Words) -> Statement:
    words.take("DROP")
    if not words.take("TABLE"):
        return Query()
    is_optional = words.take("IF", "EXISTS")
    return Drop(words.name(), is_optional)


def _describe(words: _Words) -> Statement:
    words.place += 1
    is_history = words.take("HISTORY")
    if words.peek() in {"FUNCTION", "SCHEMA", "DATABASE", "QUERY", "SELECT", "CATALOG"}:
        return Query()
    words.take("TABLE")
    words.take("EXTENDED")
    return Describe(words.name(), is_history)


def _show_tables(words: _Words) -> Statement:
    words.take("SHOW", "TABLES")
    return ShowTables(words.name() if words.take("IN") or words.take("FROM") else ())


def _other(words: _Words) -> Statement:
    first = words.peek()
    words.place += 1
    if first in _CHANGES_TABLE and words.take("TABLE"):
        words.take("IF", "EXISTS")
        return Other(f"{first} TABLE", words.name())
    if first == "UPDATE" or (first == "MERGE" and words.take("INTO")):
        return Other(first, words.name())
    if first in {"OPTIMIZE", "VACUUM", "RESTORE"}:
        words.take("TABLE")
        return Other(first, words.name() if words.found[words.place].is_name else ())
    if first == "USE":
        return Other("USE", ())
    if first in {"WITH", "FROM"} and _inserts(words.found):
        return Other("a query before INSERT", ())
    return Query()


def _inserts(found: Sequence[Token]) -> bool:
    depth = 0
    for token, after in zip(found, [*found[1:], None], strict=True):
        depth += {"(": 1, ")": -1}.get(token.keyword, 0)
        if not depth and token.keyword == "INSERT" and after is not None and after.keyword in {"INTO", "OVERWRITE"}:
            return True
    return False


def _names(words: _Words) -> Parts:
    inside = tokens(words.brackets())
    if not inside or any(not token.is_name for token in inside[::2]) or any(t.text != "," for t in inside[1::2]):
        raise words.wrong("a list of columns before it, and not")
    return tuple(token.name for token in inside[::2])


_READERS: Mapping[str, Callable[[_Words], Statement]] = {
    "CREATE": _create,
    "REPLACE": _create,
    "INSERT": _insert,
    "DELETE": _delete,
    "DROP": _drop,
    "DESCRIBE": _describe,
    "DESC": _describe,
    "SHOW": _show_tables,
}
