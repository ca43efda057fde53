"""Who sends a request, by the token that it carries: the owner of the home, or who has one of its tokens."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from millrace.access.issue import digest_of
from millrace.access.port import TokenReader
from millrace.access.types import Caller, Rights, Token, owner
from millrace.api.auth import Credentials
from millrace.core.clock import Clock

# How a worker tells control who asks. What a client sends under this name never gets there.
HEADER = b"x-millrace-caller"
# A token that was made or revoked counts within this time and that of one short query.
_FOLLOW_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Badge:
    """Who has a token, by its digest; `expires_s` since 1970, None for never."""

    digest: bytes
    caller: Caller
    expires_s: float | None


class Callers:
    """Finds the caller of a request without the database: one hash, one look into a dict, one comparison.

    The dict is asked for a digest, which nobody can choose: how long that takes tells nothing of the tokens that there
    are. The comparison takes the same time for any input.

    Args:
        credentials: the home's own token.
        name: its owner, as `user:ada`.
        clock: the machine's; tokens expire by it.
    """

    def __init__(self, credentials: Credentials, name: str, clock: Clock) -> None:
        self.owner = owner(name)
        self._home = Badge(credentials.digest, self.owner, None)
        self._clock = clock
        self._known: dict[bytes, Badge] = {}
        self.know(())

    def know(self, tokens: Iterable[Token]) -> None:
        """Accept these tokens beside the home's, and no others from now on."""
        made = [Badge(token.digest, token.caller, _end_s(token)) for token in tokens]
        others = {badge.digest: self._as_before(badge) for badge in made}
        self._known = {**others, self._home.digest: self._home}

    def badge(self, authorization: bytes) -> Badge | None:
        """Who sends this Authorization header, until it no longer `counts`; None where it holds no token that does."""
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        digest = digest_of(secret.strip())
        known = self._known.get(digest)
        if known is None or not hmac.compare_digest(known.digest, digest):
            return None
        return known if self.counts(known) else None

    def counts(self, badge: Badge) -> bool:
        """Whether its token is neither revoked nor expired."""
        if self._known.get(badge.digest) is not badge:
            return False
        return badge.expires_s is None or self._clock.now().timestamp() < badge.expires_s

    def _as_before(self, badge: Badge) -> Badge:
        """What has not changed stays the same object: it is not looked up again by who has it."""
        before = self._known.get(badge.digest)
        return before if before == badge and before is not None else badge


async def follow(callers: Callers, store: TokenReader) -> None:
    """Keep the callers as the store has them, whoever changes it, until cancelled.

    While the store can't be read, the tokens that were read last count: a database that is away stops no answers.
    """
    while True:
        await asyncio.sleep(_FOLLOW_S)
        try:
            callers.know(await asyncio.to_thread(store.list))
        except Exception:  # noqa: BLE001 - the boundary of the loop: it goes on, whatever the database says
            _log.exception("the tokens can't be read; those read last count")


def to_header(caller: Caller) -> bytes:
    """The caller as the value of `HEADER`."""
    rights = caller.rights
    document = [caller.name, sorted(rights.query), sorted(rights.manage), caller.is_owner]
    return json.dumps(document).encode("ascii")


def from_header(value: bytes) -> Caller:
    """What `to_header` wrote. Raises ValueError for anything else."""
    name, query, manage, is_owner = json.loads(value)
    return Caller(str(name), Rights(frozenset(query), frozenset(manage)), is_owner is True)


def _end_s(token: Token) -> float | None:
    return None if token.expires_at is None else token.expires_at.timestamp()
