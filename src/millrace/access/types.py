"""Rights, tokens, and the caller of a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NewType

from millrace.core.principal import Principal

TokenName = NewType("TokenName", str)
Level = Literal["CAN_QUERY", "CAN_MANAGE"]

EVERY: Final = (
    "*"  # in place of an endpoint's name: all endpoints, also those that come later; no endpoint is called so
)
CALLER: Final = "millrace.caller"  # where an ASGI scope holds the Caller


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be done with which endpoints, by name; `EVERY` is all of them. Who may manage one may query it too."""

    query: frozenset[str] = frozenset()
    manage: frozenset[str] = frozenset()

    def may_query(self, endpoint: str) -> bool:
        """Ask the endpoint for answers, and see its configuration."""
        return endpoint in self.query or EVERY in self.query or self.may_manage(endpoint)

    def may_manage(self, endpoint: str) -> bool:
        """Make, change and delete the endpoint."""
        return endpoint in self.manage or EVERY in self.manage

    def level(self, endpoint: str) -> Level | None:
        """The highest right on the endpoint, as Databricks calls it; None without any."""
        if self.may_manage(endpoint):
            return "CAN_MANAGE"
        return "CAN_QUERY" if self.may_query(endpoint) else None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    Attributes:
        name: as it is logged: `user:ada` for the owner of the home, `token:ci` for a token.
        rights: on endpoints.
        is_owner: whether everything else of the home (MLflow, status, tokens, ...) is open too.
    """

    name: str
    rights: Rights
    is_owner: bool = False

    @property
    def principal(self) -> Principal:
        """The caller as it is written into what it makes."""
        kind, _, name = self.name.partition(":")
        return Principal(kind, name)


def owner(name: str) -> Caller:
    """The owner of the home, who may do everything."""
    return Caller(name, Rights(manage=frozenset({EVERY})), is_owner=True)


ANONYMOUS: Final = Caller("anonymous:", Rights())


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept. Its secret is not: nobody can read it here again.

    Attributes:
        digest: SHA-256 of the secret, 32 bytes; unique.
        owner: who made it.
        created_at, expires_at, revoked_at: times of the machine's clock, also in a home with virtual time; None: never.
    """

    name: TokenName
    digest: bytes = field(repr=False)
    rights: Rights
    owner: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def standing(self, now: datetime) -> Literal["in force", "expired", "revoked"]:
        """Whether it counts."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "in force"

    @property
    def caller(self) -> Caller:
        """Who asks with this token."""
        return Caller(f"token:{self.name}", self.rights)
