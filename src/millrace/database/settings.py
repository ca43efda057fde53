"""Small facts that a home remembers, by key."""

from __future__ import annotations

from sqlalchemy import Engine, delete, select

from millrace.database import schema
from millrace.database.writes import put


class HomeSettings:
    """Key to JSON value. Thread- and process-safe; a set is durable when it returns, the last one wins."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, key: str) -> object:
        """The value, or None where the key was never set."""
        query = select(schema.settings.c.value).where(schema.settings.c.key == key)
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(query).scalar_one_or_none()

    def set(self, key: str, value: object) -> None:
        """Write the value, replacing what was there; None removes the key."""
        with self._engine.begin() as connection:
            if value is None:
                connection.execute(delete(schema.settings).where(schema.settings.c.key == key))
            else:
                put(connection, schema.settings, {"key": key, "value": value})
