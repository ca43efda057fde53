"""Tokens in the workspace database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Engine, select, update

from millrace.access.adapters.token_rows import row_of, token_of
from millrace.access.types import Token, TokenName
from millrace.core.clock import Clock, epoch_us
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
            if insert_new(connection, tokens, row_of(token)) is None:
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
        return sorted((token_of(row._asdict()) for row in found), key=lambda token: token.name)

    def revoke(self, name: TokenName, at: datetime) -> Token:
        """End the token of that name."""
        mine = (tokens.c.name == name) & _IN_FORCE
        with self._engine.begin() as connection:
            ended = update(tokens).where(mine).values(revoked_us=epoch_us(at)).returning(*tokens.c)
            row = connection.execute(ended).one_or_none()
            if row is not None:
                self._tell(connection, "token.revoked", name, {})
                return replace(token_of(row._asdict()), revoked_at=at)
        known = (token.name for token in self.list())
        raise NotFound(f"there is no token {name} in force", hint=did_you_mean(name, known), token=name)

    def _tell(self, connection: Connection, kind: str, name: TokenName, data: Mapping[str, object]) -> None:
        append_event(connection, Event(kind, f"token/{name}", self._clock.now(), self._principal, data))
