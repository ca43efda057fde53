from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.access.types import ANONYMOUS, Caller, Rights, Token, TokenName, owner
from millrace.api import callers as module
from millrace.api.auth import Credentials
from millrace.api.callers import Callers, follow, from_header, to_header
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidState

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ADA = owner("user:ada")


def token(name: str, *, expires_at: datetime | None = None) -> Token:
    digest = hashlib.sha256(f"mr_{name}".encode()).digest()
    return Token(TokenName(name), digest, Rights(query=frozenset({"churn"})), "user:ada", NOW, expires_at)


def callers(*tokens: Token, clock: ManualClock | None = None) -> Callers:
    made = Callers(Credentials.of("secret"), "user:ada", clock or ManualClock(NOW))
    made.know(tokens)
    return made


def caller_of(known: Callers, header: bytes) -> Caller | None:
    badge = known.badge(header)
    return None if badge is None else badge.caller


@pytest.mark.parametrize(
    ("header", "caller"),
    [
        (b"Bearer secret", ADA),
        (b"bearer secret", ADA),
        (b"Bearer  secret ", ADA),
        (b"Bearer mr_ci", Caller("token:ci", Rights(query=frozenset({"churn"})))),
        (b"Bearer Secret", None),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"Bearer secret2", None),
        (b"Bearer mr_c", None),
        (b"Basic secret", None),
        (b"", None),
        ("Bearer s\u00e9cret".encode(), None),
    ],
)
def test_the_caller_of_a_header(header: bytes, caller: Caller | None) -> None:
    assert caller_of(callers(token("ci")), header) == caller


def test_a_digest_is_no_secret() -> None:
    one = token("ci")
    for shown in (one.digest, one.digest.hex().encode()):
        assert caller_of(callers(one), b"Bearer " + shown) is None


def test_a_token_expires_at_its_time() -> None:
    clock = ManualClock(NOW)
    known = callers(token("ci", expires_at=NOW + timedelta(minutes=1)), clock=clock)
    clock.set(NOW + timedelta(minutes=1) - timedelta(microseconds=1000))
    assert caller_of(known, b"Bearer mr_ci")
    clock.set(NOW + timedelta(minutes=1))
    assert caller_of(known, b"Bearer mr_ci") is None
    assert caller_of(known, b"Bearer secret") == ADA


def test_what_is_known_replaces_what_was_known() -> None:
    known = callers(token("ci"), token("app"))
    known.know([token("app")])
    assert caller_of(known, b"Bearer mr_ci") is None
    assert caller_of(known, b"Bearer mr_app")
    assert caller_of(known, b"Bearer secret") == ADA


def test_it_is_the_timing_safe_comparison_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    known, compared = callers(token("ci")), list[tuple[object, object]]()

    def never(left: object, right: object) -> bool:
        compared.append((left, right))
        return False

    monkeypatch.setattr(hmac, "compare_digest", never)
    assert caller_of(known, b"Bearer mr_ci") is None
    digest = hashlib.sha256(b"mr_ci").digest()
    assert compared == [(digest, digest)]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_other_bytes_are_a_token(noise: bytes) -> None:
    known = callers(token("ci"))
    assert caller_of(known, noise) is None
    assert caller_of(known, b"Bearer x" + noise) is None


@pytest.mark.parametrize(
    "caller",
    [
        ADA,
        ANONYMOUS,
        Caller("token:ci", Rights(frozenset({"a", "b.c"}), frozenset({"*"}))),
        owner("user:\u00e9\r\n, x"),
    ],
)
def test_a_caller_reads_back_from_its_header(caller: Caller) -> None:
    value = to_header(caller)
    assert from_header(value) == caller
    assert value.isascii()
    assert not {b"\r", b"\n"} & {value[at : at + 1] for at in range(len(value))}


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'["user:ada"]', b"\xff"])
def test_another_header_is_no_caller(value: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        from_header(value)


class FlakyStore:
    """A store that fails at the second reading."""

    def __init__(self) -> None:
        self.readings = 0
        self.read_often = threading.Event()

    def list(self, *, revoked: bool = False) -> Sequence[Token]:
        assert not revoked
        self.readings += 1
        if self.readings == 2:
            raise InvalidState("the database is away")
        if self.readings > 3:
            self.read_often.set()
        return [token("ci")] if self.readings == 1 else [token("app")]

    def add(self, token: Token) -> None:
        raise AssertionError(token)

    def revoke(self, name: TokenName, at: datetime) -> Token:
        raise AssertionError(name, at)


def test_tokens_are_followed_through_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_FOLLOW_S", 0.001)
    known, store = callers(), FlakyStore()

    async def main() -> None:
        following = asyncio.create_task(follow(known, store))
        await asyncio.to_thread(store.read_often.wait, 60)
        following.cancel()

    asyncio.run(main())
    assert caller_of(known, b"Bearer mr_app")
    assert caller_of(known, b"Bearer mr_ci") is None
    assert "those read last count" in caplog.text
