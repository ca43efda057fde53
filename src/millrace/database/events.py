"""The event log in the workspace database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select, text

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.events import Event
from millrace.core.principal import Principal
from millrace.database import schema

_APPEND_LOCK = 7_355_609  # any fixed number: PostgreSQL's advisory lock for "appending an event"


class SqlEventLog:
    """An `EventLog` in the `events` table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, event: Event) -> int:
        """Write the event and return its cursor."""
        with self._engine.begin() as connection:
            return append_event(connection, event)

    def read(
        self, *, after: int = 0, kind: str | None = None, subject: str | None = None, limit: int = 1000
    ) -> Sequence[Event]:
        """Events after the cursor, oldest first."""
        query = select(schema.events).where(schema.events.c.id > after).order_by(schema.events.c.id).limit(limit)
        if kind is not None:
            query = query.where(schema.events.c.kind == kind)
        if subject is not None:
            query = query.where(schema.events.c.subject == subject)
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [_event(row) for row in connection.execute(query)]

    def newest(self) -> int:
        """The cursor of the last event."""
        with self._engine.connect().execution_options(read_only=True) as connection:
            return int(connection.execute(select(func.max(schema.events.c.id))).scalar_one() or 0)


def append_event(connection: Connection, event: Event) -> int:
    """Write the event inside the caller's transaction, together with what it tells of, and return its cursor."""
    if connection.dialect.name == "postgresql":
        # Numbers are given before commit: without the lock a reader could see 6, go on after it, and never see 5.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})
    row = {
        "kind": event.kind,
        "subject": event.subject,
        "at_us": epoch_us(event.at),
        "by": str(event.by),
        "data": dict(event.data),
    }
    return int(connection.execute(insert(schema.events).values(row).returning(schema.events.c.id)).scalar_one())


def _event(row: Row[Any]) -> Event:
    kind, _, name = row.by.partition(":")
    return Event(row.kind, row.subject, from_epoch_us(row.at_us), Principal(kind, name), row.data, row.id)
