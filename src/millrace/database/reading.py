"""Reading a workspace database that is a SQLite file with the driver alone: SQLAlchemy takes 15 MB of each process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import orjson

from millrace.database.version import NEWEST, VERSION_KEY

_FILE = "sqlite:///"
_BUSY_TIMEOUT_S = 30.0


class DatabaseReader:
    """Rows of the database, as they are now: each query sees all that was committed before it. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA query_only=ON")
        self._using = threading.Lock()

    def rows(self, query: str, *parameters: object) -> Sequence[Mapping[str, Any]]:
        """The rows of a query, by column. A JSON document is still text."""
        with self._using, closing(self._connection.execute(query, parameters)) as found:
            return [dict(row) for row in found]

    def changes(self) -> int:
        """A number that is another one when somebody has written to the database."""
        return int(self.rows("PRAGMA data_version")[0]["data_version"])

    def get(self, key: str) -> object:
        """A setting of the home, or None where it was never set."""
        found = self.rows("SELECT value FROM settings WHERE key = ?", key)
        return document(found[0]["value"]) if found else None

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._connection.close()


def reader(url: str) -> DatabaseReader | None:
    """A reader of the database at a SQLAlchemy URL.

    None where it is no file, is not there yet, or has not today's schema: SQLAlchemy knows what to do then.
    """
    path = Path(url.removeprefix(_FILE))
    if not url.startswith(_FILE) or "?" in url or not path.is_absolute() or not path.is_file():
        return None
    opened = DatabaseReader(path)
    with suppress(sqlite3.Error):
        if opened.get(VERSION_KEY) == NEWEST:
            return opened
    opened.close()
    return None


def document(text: str | None) -> Any:
    """A JSON document of a column."""
    return None if text is None else orjson.loads(text)
