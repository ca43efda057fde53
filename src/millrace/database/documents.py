"""JSON documents in a column: the same text in SQLite and PostgreSQL, and what is read is what was written."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator

# Only what reads back as it was written: a time or a dataclass in a document is a mistake of the writer.
_STRICT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS


class Document(TypeDecorator[Any]):
    """A JSON value. None is SQL's NULL; a float that is not finite becomes null, as JSON has no word for it.

    The databases' own JSON types are not used: SQLite's turns a document `1.0` into the integer 1.

    What JSON has no form for (a datetime, a key that is not text) is refused with SQLAlchemy's StatementError.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To JSON."""
        del dialect
        return None if value is None else orjson.dumps(value, option=_STRICT).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From JSON."""
        del dialect
        return None if value is None else orjson.loads(value)
