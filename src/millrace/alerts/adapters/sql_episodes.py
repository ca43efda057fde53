"""Episodes, their notes, and what is posted about them, in the workspace database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, select, update

from millrace.alerts.types import Episode, EpisodeId, Note, Notification
from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import Conflict, NotFound
from millrace.database.schema import deliveries, episode_notes, episodes, outbox
from millrace.database.writes import insert_new


class SqlEpisodeStore:
    """An `EpisodeStore` in the `episodes`, `episode_notes`, `outbox` and `deliveries` tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, episode: Episode, notification: Notification | None = None) -> Episode:
        """Write a new open episode with its notification, or return the one that is open."""
        with self._engine.begin() as connection:
            number = insert_new(connection, episodes, _row(episode))
            if number is not None:
                if notification is not None:
                    _post(connection, notification, number)
                return replace(episode, id=EpisodeId(number))
            found = connection.execute(_open(episode.rule, episode.subject, episode.kind)).one_or_none()
        if found is None:
            raise Conflict(
                f"the open episode of rule {episode.rule} on {episode.subject} was resolved at the same moment",
                hint="evaluate the rule again",
            )
        return _episode(found)

    def update(self, episode: Episode, notification: Notification | None = None) -> Episode:
        """Replace the episode, and post the notification that tells of it."""
        after = replace(episode, revision=episode.revision + 1)
        mine = (episodes.c.id == episode.id) & (episodes.c.revision == episode.revision)
        with self._engine.begin() as connection:
            changed = connection.execute(update(episodes).where(mine).values(_row(after)))
            if not changed.rowcount:
                if connection.execute(select(episodes.c.id).where(episodes.c.id == episode.id)).one_or_none() is None:
                    raise _unknown(episode.id)
                raise Conflict(f"episode {episode.id} was changed at the same moment", hint="evaluate alerts again")
            if notification is not None:
                _post(connection, notification, episode.id)
        return after

    def current(self, rule: str, subject: str, kind: str | None = None) -> Episode | None:
        """The open episode, of several kinds the oldest."""
        found = self._read(_open(rule, subject, kind).order_by(episodes.c.id).limit(1))
        return _episode(found[0]) if found else None

    def latest(self, rule: str, subject: str, kind: str) -> Episode | None:
        """The newest episode, open or resolved."""
        about = (episodes.c.rule == rule) & (episodes.c.subject == subject) & (episodes.c.kind == kind)
        found = self._read(select(episodes).where(about).order_by(episodes.c.id.desc()).limit(1))
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

    def open_now(self, rule: str | None = None, subject: str | None = None) -> Sequence[Episode]:
        """All that are open, oldest first."""
        query = select(episodes).where(episodes.c.status == "open").order_by(episodes.c.id)
        if rule is not None:
            query = query.where(episodes.c.rule == rule)
        if subject is not None:
            query = query.where(episodes.c.subject == subject)
        return [_episode(row) for row in self._read(query)]

    def owed(self) -> Sequence[Episode]:
        """All of which something is still to be told, oldest first."""
        return [
            _episode(row) for row in self._read(select(episodes).where(episodes.c.owed != "").order_by(episodes.c.id))
        ]

    def note(self, episode: EpisodeId, note: Note) -> bool:
        """Add a line to the history, once for each key."""
        row = {
            "episode_id": episode,
            "key": (note.key or note.text)[:300],
            "at_us": epoch_us(note.at),
            "by": note.by,
            "text": note.text,
        }
        self.get(episode)
        with self._engine.begin() as connection:
            return insert_new(connection, episode_notes, row) is not None

    def notes(self, episode: EpisodeId) -> Sequence[Note]:
        """In the order of writing."""
        query = select(episode_notes).where(episode_notes.c.episode_id == episode).order_by(episode_notes.c.id)
        return [Note(from_epoch_us(row.at_us), row.by, row.text, row.key) for row in self._read(query)]

    def posted(self, episode: EpisodeId | None = None, limit: int = 1000) -> Sequence[Notification]:
        """What was put into the outbox, oldest first."""
        query = select(outbox).order_by(outbox.c.id).limit(limit)
        found = self._read(query if episode is None else query.where(outbox.c.episode_id == episode))
        return [notification_of(row) for row in found]

    def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(query).all()


def notification_of(row: Row[Any]) -> Notification:
    """A row of the outbox as a value."""
    return Notification(
        key=row.key,
        title=row.payload["title"],
        body=row.payload["body"],
        channels=tuple(row.payload["channels"]),
        created_at=from_epoch_us(row.created_us),
        data=row.payload["data"],
    )


def _open(rule: str, subject: str, kind: str | None) -> Select[Any]:
    query = select(episodes).where(episodes.c.rule == rule, episodes.c.subject == subject, episodes.c.status == "open")
    return query if kind is None else query.where(episodes.c.kind == kind)


def _post(connection: Connection, notification: Notification, episode: int) -> None:
    """Put it into the outbox, with a delivery for each channel; a key that is there already is the same notification."""
    row = {
        "key": notification.key,
        "payload": {
            "title": notification.title,
            "body": notification.body,
            "channels": list(notification.channels),
            "data": dict(notification.data),
        },
        "created_us": epoch_us(notification.created_at),
        "episode_id": episode,
    }
    number = insert_new(connection, outbox, row)
    for channel in notification.channels if number is not None else ():
        delivery = {"outbox_id": number, "channel": channel, "status": "waiting", "attempts": 0}
        insert_new(connection, deliveries, {**delivery, "next_us": epoch_us(notification.created_at)})


def _unknown(episode: EpisodeId) -> NotFound:
    return NotFound(f"episode {episode} does not exist", hint="see `millrace alert history`", episode=episode)


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
        "kind": episode.kind,
        "owed": episode.owed,
        "revision": episode.revision,
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
        kind=row.kind,
        owed=row.owed,
        revision=row.revision,
    )
