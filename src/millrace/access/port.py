"""What is needed from a store of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from millrace.access.types import Token, TokenName


class TokenReader(Protocol):
    """Tokens, read. Process-safe: what a store has written is seen by every reader that begins afterwards."""

    def list(self, *, revoked: bool = False) -> Sequence[Token]:
        """Tokens that are not revoked (expired ones are among them), or all; sorted by name, then by age, oldest first.

        Workers ask every second: it has to be cheap.
        """
        ...


class TokenStore(TokenReader, Protocol):
    """Tokens by name. Process-safe; what returned is durable, and seen by every reader that begins afterwards.

    A name belongs to one token at a time: it is free again when that token is revoked, even where it has expired. Each
    change is an event (`token.created`, `token.revoked`), written together with it; no secret or digest is in it.
    """

    def add(self, token: Token) -> None:
        """Enter a new token. Raises AlreadyExists where one of that name is not revoked."""
        ...

    def revoke(self, name: TokenName, at: datetime) -> Token:
        """End the token of that name for good; as it is then. Raises NotFound where none is in force, with the nearest."""
        ...
