"""Tokens as programs are shown them: everything but the digest."""

from __future__ import annotations

from millrace.access.types import Token
from millrace.core.clock import iso


def as_json(token: Token) -> dict[str, object]:
    """A token as JSON; `*` among the endpoints is all of them, times are ISO."""
    return {
        "name": token.name,
        "query": sorted(token.rights.query),
        "manage": sorted(token.rights.manage),
        "owner": token.owner,
        "created_at": iso(token.created_at),
        "expires_at": None if token.expires_at is None else iso(token.expires_at),
        "revoked_at": None if token.revoked_at is None else iso(token.revoked_at),
    }
