"""Deliveries in the workspace database, and the lock of the one process that delivers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Engine, Row, Select, select, text, update

from millrace.alerts.adapters.sql_episodes import notification_of
from millrace.alerts.types import Delivery, EpisodeId
from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import NotFound
from millrace.database.schema import deliveries, outbox

_LOCK = 7_355_610  # any fixed number: PostgreSQL's advisory lock for "delivering"


class SqlOutbox:
    """An `Outbox` in the `deliveries` table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """True where no other process delivers. The kernel, or PostgreSQL, ends it with the process that holds it."""
        if self._engine.dialect.name == "postgresql":
            with self._engine.connect() as connection:
                mine = bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}).scalar_one())
                connection.commit()
                try:
                    yield mine
                finally:
                    if mine:
                        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
                        connection.commit()
            return
        path = self._engine.url.database
        if path in (None, "", ":memory:"):
            yield True
            return
        lock = FileLock(f"{path}.delivering")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def waiting(self, limit: int = 10_000) -> Sequence[Delivery]:
        """Neither sent nor dead, oldest first."""
        return self._read(_all().where(deliveries.c.status == "waiting").order_by(deliveries.c.id).limit(limit))

    def of(self, episode: EpisodeId) -> Sequence[Delivery]:
        """All of an episode, oldest first."""
        return self._read(_all().where(outbox.c.episode_id == episode).order_by(deliveries.c.id))

    def dead(self, limit: int = 100) -> Sequence[Delivery]:
        """Given up, newest first."""
        return self._read(_all().where(deliveries.c.status == "dead").order_by(deliveries.c.id.desc()).limit(limit))

    def trying(self, delivery: int) -> None:
        """Count an attempt."""
        self._change(delivery, {"attempts": deliveries.c.attempts + 1})

    def sent(self, delivery: int, at: datetime) -> None:
        """The channel took it."""
        self._change(delivery, {"status": "sent", "sent_us": epoch_us(at), "last_error": None})

    def failed(self, delivery: int, error: str, next_at: datetime | None) -> None:
        """Keep the error, and when to try again; None: never."""
        if next_at is None:
            self._change(delivery, {"status": "dead", "last_error": error})
        else:
            self._change(delivery, {"last_error": error, "next_us": epoch_us(next_at)})

    def revive(self, at: datetime) -> int:
        """Put what is dead back among the waiting."""
        changes = {"status": "waiting", "attempts": 0, "next_us": epoch_us(at)}
        with self._engine.begin() as connection:
            return connection.execute(update(deliveries).where(deliveries.c.status == "dead").values(changes)).rowcount

    def _change(self, delivery: int, changes: dict[str, object]) -> None:
        with self._engine.begin() as connection:
            changed = connection.execute(update(deliveries).where(deliveries.c.id == delivery).values(changes))
        if not changed.rowcount:
            raise NotFound(f"delivery {delivery} does not exist")

    def _read(self, query: Select[Any]) -> Sequence[Delivery]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [_delivery(row) for row in connection.execute(query).all()]


def _all() -> Select[Any]:
    mine = [
        deliveries.c[name].label(f"d_{name}")
        for name in ("id", "channel", "status", "attempts", "next_us", "sent_us", "last_error")
    ]
    return select(*mine, outbox).join(outbox, outbox.c.id == deliveries.c.outbox_id)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.d_id,
        episode=EpisodeId(row.episode_id),
        channel=row.d_channel,
        notification=notification_of(row),
        status=row.d_status,
        attempts=row.d_attempts,
        next_at=from_epoch_us(row.d_next_us),
        sent_at=None if row.d_sent_us is None else from_epoch_us(row.d_sent_us),
        error=row.d_last_error or "",
    )
