"""A token as a row of the database has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millrace.access.types import Rights, Token, TokenName
from millrace.core.clock import epoch_us, from_epoch_us


def row_of(token: Token) -> Mapping[str, object]:
    """Of a token, by column."""
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


def token_of(row: Mapping[str, Any]) -> Token:
    """From a row whose documents are read already."""
    return Token(
        name=TokenName(row["name"]),
        digest=bytes.fromhex(row["digest"]),
        rights=Rights(frozenset(row["query"]), frozenset(row["manage"])),
        owner=row["owner"],
        created_at=from_epoch_us(row["created_us"]),
        expires_at=None if row["expires_us"] is None else from_epoch_us(row["expires_us"]),
        revoked_at=None if row["revoked_us"] is None else from_epoch_us(row["revoked_us"]),
    )
