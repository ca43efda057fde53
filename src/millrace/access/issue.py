"""Making a token: its secret is told once, and only its digest is kept."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta

from millrace.access.port import TokenStore
from millrace.access.types import EVERY, Rights, Token, TokenName
from millrace.core.clock import Clock, parse_time
from millrace.core.errors import InvalidInput
from millrace.core.principal import Principal

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_ENDPOINT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def issue(
    store: TokenStore, clock: Clock, principal: Principal, name: str, *, rights: Rights, expires: str | None = None
) -> tuple[Token, str]:
    """Make a token; what is kept of it, and its secret (`mr_` and 256 random bits), which can't be read again.

    The endpoints need not exist yet. `clock` is the machine's, also in a home with virtual time: a token is for the world
    outside. `expires` is a span as `90d`, `12h`, `30m` or `2w`, or an ISO time; None: never.

    Raises:
        InvalidInput: a bad name, no right at all, or an end that is not in the future.
        AlreadyExists: a token of that name is not revoked.
    """
    _check(name, rights)
    now = clock.now()
    secret = "mr_" + secrets.token_urlsafe(32)
    token = Token(TokenName(name), digest_of(secret.encode()), rights, str(principal), now, _end(expires, now))
    store.add(token)
    return token, secret


def digest_of(secret: bytes) -> bytes:
    """What is kept of a secret. It has 256 random bits, so a plain hash can't be turned back."""
    return hashlib.sha256(secret).digest()


def _check(name: str, rights: Rights) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"'{name}' can't name a token", hint="use letters, digits, _, . and -, at most 64", name=name
        )
    endpoints = rights.query | rights.manage
    if not endpoints:
        raise InvalidInput(
            f"token '{name}' would have no rights", hint="name endpoints that it may query or manage", name=name
        )
    for endpoint in sorted(endpoints - {EVERY}):
        if not _ENDPOINT.fullmatch(endpoint):
            raise InvalidInput(f"'{endpoint}' can't name an endpoint", hint="use letters, digits, _, . and -")


def _end(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    try:
        end = now + timedelta(**{_UNITS[span[2]]: int(span[1])}) if span else parse_time(text)
    except (InvalidInput, OverflowError) as error:
        raise InvalidInput(f"'{text}' is no end of a token", hint="write 90d, 12h, 30m, 2w, or a time") from error
    if end <= now:
        raise InvalidInput(f"the token would have expired at once: {text}", hint="write 90d, or a time to come")
    return end
