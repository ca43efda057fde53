"""Tokens in the workspace database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, select, update

from millrace.access.types import Rights, Token, TokenName
from millrace.core.clock import Clock, epoch_us, from_epoch_us
from millrace.core.errors import AlreadyExists, NotFound
from millrace.core.events import Event
from millrace.core.names import did_you_mean
from millrace.core.principal import Principal
from millrace.database.events import append_event
from millrace.database.schema import tokens
from millrace.database.writes import insert_new

_IN_FORCE = tokens.c.revoked_us.is_(None)


class SqlTokenStore:
    """A `TokenStore` in the `tokens` table.

    Args:
        clock: the home's, for events.
        principal: who makes and revokes.
    """

    def __init__(self, engine: Engine, clock: Clock, principal: Principal) -> None:
        self._engine, self._clock, self._principal = engine, clock, principal

    def add(self, token: Token) -> None:
        """Enter a new token."""
        with self._engine.begin() as connection:
            if insert_new(connection, tokens, _row(token)) is None:
                raise AlreadyExists(
                    f"token {token.name} exists", hint="revoke it first, or choose another name", token=token.name
                )
            data = {"query": sorted(token.rights.query), "manage": sorted(token.rights.manage)}
            self._tell(connection, "token.created", token.name, data)

    def list(self, *, revoked: bool = False) -> Sequence[Token]:
        """Sorted by name, then oldest first."""
        query = select(tokens) if revoked else select(tokens).where(_IN_FORCE)
        with self._engine.connect().execution_options(read_only=True) as connection:
            found = connection.execute(query.order_by(tokens.c.id)).all()
        # Sorted here: databases disagree on where an underscore comes.
        return sorted(map(_token, found), key=lambda token: token.name)

    def revoke(self, name: TokenName, at: datetime) -> Token:
        """End the token of that name."""
        mine = (tokens.c.name == name) & _IN_FORCE
        with self._engine.begin() as connection:
            ended = update(tokens).where(mine).values(revoked_us=epoch_us(at)).returning(*tokens.c)
            row = connection.execute(ended).one_or_none()
            if row is not None:
                self._tell(connection, "token.revoked", name, {})
                return replace(_token(row), revoked_at=at)
        known = (token.name for token in self.list())
        raise NotFound(f"there is no token {name} in force", hint=did_you_mean(name, known), token=name)

    def _tell(self, connection: Connection, kind: str, name: TokenName, data: Mapping[str, object]) -> None:
        append_event(connection, Event(kind, f"token/{name}", self._clock.now(), self._principal, data))


def _row(token: Token) -> Mapping[str, object]:
    return {
        "name": token.name,
        "digest": token.digest.hex(),
        "query": sorted(token.rights.query),
        "manage": sorted(token.rights.manage),
        "owner": token.owner,
        "created_us": epoch_us(token.created_at),
        "expires_us": None if token.expires_at is None else epoch_us(token.expires_at),
        "revoked_us": None if token.revoked_at is None else epoch_us(token.revoked_at),
    }


def _token(row: Row[Any]) -> Token:
    return Token(
        name=TokenName(row.name),
        digest=bytes.fromhex(row.digest),
        rights=Rights(frozenset(row.query), frozenset(row.manage)),
        owner=row.owner,
        created_at=from_epoch_us(row.created_us),
        expires_at=None if row.expires_us is None else from_epoch_us(row.expires_us),
        revoked_at=None if row.revoked_us is None else from_epoch_us(row.revoked_us),
    )
