"""A look into each plan that a feature function sends: nothing in it may be older than the function, or know another now.

Names are cut where they are looked up. What was looked up outside, and kept in a variable, a cached result or a view, is whole: it is
told by the plan's own numbers, which only grow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from millrace.core.errors import InvalidInput
from millrace.lake.sql.tokens import string_value, tokens

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NOW_FUNCTIONS = frozenset({"current_date", "curdate", "current_timestamp", "now", "localtimestamp"})
_NEVER_SET = frozenset({"current_time", "localtime"})
# Text that Spark takes for a time, by its own clock, wherever it casts it to one; a zone may follow.
_SPECIAL = re.compile(r"\s*(now|today|yesterday|tomorrow)\b[^A-Za-z]*([A-Za-z][\w+:/-]*)?\s*", re.IGNORECASE)
# These three need no brackets in SQL.
_BARE = frozenset({"current_date", "current_timestamp", "localtimestamp", "current_time"})
_READS = frozenset({"read", "sql", "relation_changes", "cached_remote_relation"})


@dataclass
class Guard:
    """Checks plans for one run of a feature function.

    Attributes:
        clock_is_set: whether the engine's `current_date` means the function's time; where it does not, it is refused.
        allowed: numbers of the reading parts that were made here.
    """

    clock_is_set: bool
    allowed: set[int] = field(default_factory=set)

    def allow(self, frame: DataFrame) -> None:
        """What the frame reads may be read."""
        self.allowed.update(reads_of(frame))

    def check(self, message: Any) -> None:
        """Refuse a plan or command with parts that were made elsewhere, or that ask for the engine's own time.

        Raises:
            InvalidInput: with the way to do it.
        """
        for node in _messages(message):
            kind = node.DESCRIPTOR.name
            if kind == "Relation" and node.WhichOneof("rel_type") in _READS and _number(node) not in self.allowed:
                raise InvalidInput(
                    "a feature function uses a frame that was made outside of it, and so isn't cut at its time",
                    hint="read the table inside the function: as a parameter with a Source, or with spark.table",
                )
            if kind in {"UnresolvedFunction", "CallFunction"}:
                self.check_function(node.function_name, len(node.arguments))
            elif kind == "ExpressionString":
                self.check_expression(node.expression)
            elif kind == "Literal" and node.WhichOneof("literal_type") == "string":
                self.check_string(node.string)

    def check_string(self, text: str) -> None:
        """Refuse text that a real Spark may take for its own time: to what it will be cast, or compared with, is not known here."""
        if not self.clock_is_set and _SPECIAL.fullmatch(text):
            raise InvalidInput(
                f"'{text}' is the Spark cluster's own time wherever a time is expected",
                hint="use as_of: F.lit(as_of); where it is only a word, write it in two parts: concat('to', 'day')",
            )

    def check_function(self, name: str, arguments: int = 0) -> None:
        """Refuse the engine's own time where it can't be set."""
        own = name.lower().rpartition(".")[2].strip("`")  # `system.builtin.now` is `now`
        is_unset = own in _NEVER_SET or (own == "unix_timestamp" and not arguments)
        if is_unset or (not self.clock_is_set and own in NOW_FUNCTIONS):
            whose = "this machine's" if self.clock_is_set else "the Spark cluster's"
            raise InvalidInput(
                f"{own}() is {whose} own time, not that of the feature function", hint="use as_of: F.lit(as_of)"
            )

    def check_expression(self, text: str) -> None:
        """Refuse tables and the engine's own time in SQL."""
        if any(token.keyword in {"SELECT", "FROM"} for token in tokens(text)) and _has_query(text):
            raise InvalidInput(
                f"a feature function has a query inside an expression: {text}",
                hint="write the whole query with spark.sql, or join the tables",
            )
        self.check_text(text)

    def check_text(self, text: str) -> None:
        """Refuse the engine's own time in SQL where it can't be set."""
        found = tokens(text)
        for place, token in enumerate(found):
            before = found[place - 1].keyword if place else ""
            if token.kind == "string":
                if before in {"DATE", "TIMESTAMP"} and _SPECIAL.fullmatch(string_value(token)):
                    raise InvalidInput(f"{before} {token.text} is not the feature function's time", hint="use as_of")
                self.check_string(string_value(token))
            after = found[place + 1].text if place + 1 < len(found) else ""
            is_column = (place > 0 and found[place - 1].text == ".") or after == "."
            name = token.name.lower() if token.is_name else ""
            if after == "(" or (name in _BARE and token.kind == "word" and not is_column):
                closes = found[place + 2].text == ")" if after == "(" and place + 2 < len(found) else True
                self.check_function(name, 0 if closes else 1)


def reads_of(frame: DataFrame) -> Iterator[int]:
    """Numbers of the parts of a frame's plan that read. A frame that is made from it has them, too."""
    plan: Any = frame
    relation = plan._plan.plan(plan._session.client)  # noqa: SLF001 - a frame's plan has no public name
    return (_number(node) for node in _relations(relation) if node.WhichOneof("rel_type") in _READS)


def _has_query(text: str) -> bool:
    found = tokens(text)
    return any(
        token.text == "(" and after.keyword in {"SELECT", "WITH", "FROM", "TABLE"} for token, after in pairwise(found)
    )


def _number(relation: Any) -> int:
    return int(relation.common.plan_id)


def _relations(message: Any) -> Iterator[Any]:
    return (node for node in _messages(message) if node.DESCRIPTOR.name == "Relation")


def _messages(message: Any) -> Iterator[Any]:
    """A message and all inside it, without what is packed as bytes."""
    from google.protobuf.message import Message  # type: ignore[import-untyped]

    waiting = [message]
    while waiting:
        node = waiting.pop()
        yield node
        for descriptor, value in node.ListFields():
            if descriptor.message_type is None:
                continue
            if isinstance(value, Message):
                waiting.append(value)
            elif descriptor.message_type.GetOptions().map_entry:
                waiting.extend(inner for inner in value.values() if isinstance(inner, Message))
            else:
                waiting.extend(value)
