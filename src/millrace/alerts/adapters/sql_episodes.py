"""Episodes and the outbox of notifications in the workspace database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, select, update

from millrace.alerts.types import Episode, EpisodeId, Notification
from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import Conflict, NotFound
from millrace.database.schema import episodes, outbox
from millrace.database.writes import insert_new


class SqlEpisodeStore:
    """An `EpisodeStore` in the `episodes` and `outbox` tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, episode: Episode, notification: Notification) -> Episode:
        """Write a new open episode with its notification, or return the one that is open."""
        with self._engine.begin() as connection:
            number = insert_new(connection, episodes, _row(episode))
            if number is not None:
                _post(connection, notification)
                return replace(episode, id=EpisodeId(number))
            found = connection.execute(_open(episode.rule, episode.subject)).one_or_none()
        if found is None:
            raise Conflict(
                f"the open episode of rule {episode.rule} on {episode.subject} was resolved at the same moment",
                hint="evaluate the rule again",
            )
        return _episode(found)

    def update(self, episode: Episode, notification: Notification | None = None) -> None:
        """Replace the episode with the same id, and post the notification that tells of it."""
        with self._engine.begin() as connection:
            changed = connection.execute(update(episodes).where(episodes.c.id == episode.id).values(_row(episode)))
            if not changed.rowcount:
                raise _unknown(episode.id)
            if notification is not None:
                _post(connection, notification)

    def current(self, rule: str, subject: str) -> Episode | None:
        """The open episode."""
        found = self._read(_open(rule, subject))
        return _episode(found[0]) if found else None

    def get(self, episode: EpisodeId) -> Episode:
        """The episode with that id."""
        found = self._read(select(episodes).where(episodes.c.id == episode))
        if not found:
            raise _unknown(episode)
        return _episode(found[0])

    def list(self, rule: str | None = None, limit: int = 50) -> Sequence[Episode]:
        """Newest first."""
        query = select(episodes).order_by(episodes.c.id.desc()).limit(limit)
        return [_episode(row) for row in self._read(query if rule is None else query.where(episodes.c.rule == rule))]

    def unsent(self, limit: int = 100) -> Sequence[Notification]:
        """Oldest first."""
        query = select(outbox).where(outbox.c.sent_us.is_(None)).order_by(outbox.c.id).limit(limit)
        return [_notification(row) for row in self._read(query)]

    def mark_sent(self, key: str, at: datetime) -> None:
        """Take the notification out of the outbox; the first time it was sent stays."""
        with self._engine.begin() as connection:
            connection.execute(
                update(outbox).where(outbox.c.key == key, outbox.c.sent_us.is_(None)).values(sent_us=epoch_us(at))
            )

    def mark_failed(self, key: str, error: str) -> None:
        """Count the attempt and keep its error."""
        changes = {"attempts": outbox.c.attempts + 1, "last_error": error}
        with self._engine.begin() as connection:
            connection.execute(update(outbox).where(outbox.c.key == key).values(changes))

    def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(query).all()


def _open(rule: str, subject: str) -> Select[Any]:
    return select(episodes).where(episodes.c.rule == rule, episodes.c.subject == subject, episodes.c.status == "open")


def _post(connection: Connection, notification: Notification) -> None:
    """Put it into the outbox; a key that is there already is the same notification."""
    row = {
        "key": notification.key,
        "payload": {
            "title": notification.title,
            "body": notification.body,
            "channels": list(notification.channels),
            "data": dict(notification.data),
        },
        "created_us": epoch_us(notification.created_at),
        "attempts": 0,
    }
    insert_new(connection, outbox, row)


def _unknown(episode: EpisodeId) -> NotFound:
    return NotFound(f"episode {episode} does not exist", episode=episode)


def _row(episode: Episode) -> Mapping[str, object]:
    return {
        "rule": episode.rule,
        "subject": episode.subject,
        "status": episode.status,
        "began_us": epoch_us(episode.began_at),
        "opened_us": epoch_us(episode.opened_at),
        "last_us": epoch_us(episode.last_at),
        "closed_us": None if episode.closed_at is None else epoch_us(episode.closed_at),
        "reason": episode.reason,
        "data": dict(episode.data),
    }


def _episode(row: Row[Any]) -> Episode:
    return Episode(
        id=EpisodeId(row.id),
        rule=row.rule,
        subject=row.subject,
        status=row.status,
        began_at=from_epoch_us(row.began_us),
        opened_at=from_epoch_us(row.opened_us),
        last_at=from_epoch_us(row.last_us),
        closed_at=None if row.closed_us is None else from_epoch_us(row.closed_us),
        reason=row.reason,
        data=row.data,
    )


def _notification(row: Row[Any]) -> Notification:
    return Notification(
        key=row.key,
        title=row.payload["title"],
        body=row.payload["body"],
        channels=tuple(row.payload["channels"]),
        created_at=from_epoch_us(row.created_us),
        data=row.payload["data"],
    )
