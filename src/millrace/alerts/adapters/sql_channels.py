"""Channels by name in the workspace database: the one place with what is secret in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Row, Select, delete, select

from millrace.alerts.types import Channel
from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import AlreadyExists, NotFound
from millrace.core.names import did_you_mean
from millrace.database.schema import alert_channels
from millrace.database.writes import insert_new


class SqlChannelBook:
    """A `ChannelBook` in the `alert_channels` table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, channel: Channel) -> None:
        """Write a new one."""
        row = {
            "name": channel.name,
            "url": channel.url,
            "owner": channel.owner,
            "created_us": epoch_us(channel.created_at),
        }
        with self._engine.begin() as connection:
            if insert_new(connection, alert_channels, row) is None:
                raise AlreadyExists(
                    f"a channel '{channel.name}' exists", hint="choose another name, or remove that one first"
                )

    def get(self, name: str) -> Channel:
        """The channel of that name."""
        found = self._read(select(alert_channels).where(alert_channels.c.name == name))
        if not found:
            raise self._unknown(name)
        return _channel(found[0])

    def list(self) -> Sequence[Channel]:
        """By name."""
        return [_channel(row) for row in self._read(select(alert_channels).order_by(alert_channels.c.name))]

    def remove(self, name: str) -> None:
        """Delete it."""
        with self._engine.begin() as connection:
            gone = connection.execute(delete(alert_channels).where(alert_channels.c.name == name)).rowcount
        if not gone:
            raise self._unknown(name)

    def _unknown(self, name: str) -> NotFound:
        known = [row.name for row in self._read(select(alert_channels.c.name))]
        return NotFound(f"there is no channel '{name}'", hint=did_you_mean(name, known), channel=name)

    def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(query).all()


def _channel(row: Row[Any]) -> Channel:
    return Channel(row.name, row.url, row.owner, from_epoch_us(row.created_us))
