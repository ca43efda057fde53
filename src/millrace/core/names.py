"""Names of things in the lake: `catalog.schema.table`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from millrace.core.errors import InvalidInput

DEFAULT_CATALOG = "main"
DEFAULT_SCHEMA = "default"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}")
_MOST_PARTS = 3


@dataclass(frozen=True, order=True, slots=True)
class TableName:
    """A three-level table name. `str()` leaves the default catalog out: `bronze.transactions`."""

    catalog: str
    schema: str
    table: str

    @classmethod
    def parse(cls, text: str | TableName) -> TableName:
        """Read one, two or three dot-separated parts; what is missing is the default.

        Raises:
            InvalidInput: more than three parts, an empty part, or a character outside `[A-Za-z0-9_-]`.
        """
        if isinstance(text, TableName):
            return text
        parts = text.split(".")
        if len(parts) > _MOST_PARTS or not all(_PART.fullmatch(part) for part in parts):
            raise InvalidInput(
                f"'{text}' is not a table name",
                hint="write table, schema.table or catalog.schema.table, with letters, digits, _ and -",
                name=text,
            )
        catalog, schema, table = [DEFAULT_CATALOG, DEFAULT_SCHEMA][: _MOST_PARTS - len(parts)] + parts
        return cls(catalog, schema, table)

    @property
    def full(self) -> str:
        """All three levels: `main.bronze.transactions`."""
        return f"{self.catalog}.{self.schema}.{self.table}"

    def __str__(self) -> str:
        """The short form: the default catalog is not written."""
        return f"{self.schema}.{self.table}" if self.catalog == DEFAULT_CATALOG else self.full


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or the list of what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")  # noqa: PLR2004 - a line's worth
    return f"there is: {shown}" if names else "there is none yet"
