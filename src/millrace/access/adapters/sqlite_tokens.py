"""Tokens in a workspace database that is a file, read without SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.access.adapters.token_rows import token_of
from millrace.access.types import Token
from millrace.database.reading import DatabaseReader, document

_IN_FORCE = "SELECT * FROM tokens WHERE revoked_us IS NULL ORDER BY id"
_ALL = "SELECT * FROM tokens ORDER BY id"


class SqliteTokenReader:
    """A `TokenReader` of the `tokens` table."""

    def __init__(self, database: DatabaseReader) -> None:
        self._database = database

    def list(self, *, revoked: bool = False) -> Sequence[Token]:
        """Sorted by name, then oldest first."""
        found = self._database.rows(_ALL if revoked else _IN_FORCE)
        read = [{**row, "query": document(row["query"]), "manage": document(row["manage"])} for row in found]
        return sorted(map(token_of, read), key=lambda token: token.name)
