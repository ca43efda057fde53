"""A head is read once, says what uvicorn would read in it, and lets nobody in for longer than its token counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from millrace.access.types import Rights, Token, TokenName
from millrace.api.auth import Credentials
from millrace.api.callers import Callers
from millrace.api.guard import Guard
from millrace.api.heads import Heads
from millrace.api.lane_protocol import Way
from millrace.core.clock import ManualClock
from tests.unit.serving.lanes import Adding, Scene, Visitor, body_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DIGEST = Credentials.of("mr_ci").digest
RAW = (
    b"POST /serving-endpoints/ch%75rn/invocations?client_request_id=a HTTP/1.1\r\nHost: localhost\r\n"
    b"Authorization: Bearer mr_ci\r\nContent-Type:application/json\r\nContent-Length: 9\r\n\r\n"
)


def token(*endpoints: str, expires_at: datetime | None = None) -> Token:
    return Token(TokenName("ci"), DIGEST, Rights(query=frozenset(endpoints)), "user:ada", NOW, expires_at)


def test_what_a_head_says() -> None:
    opening = Heads(100).opening(RAW + b"the body, and more")
    assert opening is not None
    assert (opening.size, opening.whole) == (len(RAW), len(RAW) + 9)
    assert (opening.head.path, opening.head.query) == ("/serving-endpoints/churn/invocations", b"client_request_id=a")
    assert opening.head.sent == {
        b"host": b"localhost",
        b"authorization": b"Bearer mr_ci",
        b"content-type": b"application/json",
        b"content-length": b"9",
    }


def test_it_is_read_once_as_long_as_few_others_come() -> None:
    heads = Heads(100)
    first = heads.opening(RAW)
    assert heads.opening(RAW + b"body") is first
    for number in range(2000):
        heads.opening(RAW.replace(b"client_request_id=a", b"client_request_id=%d" % number))
    assert len(heads._known) <= 512
    again = heads.opening(RAW)
    assert again is not first
    assert again is not None
    assert first is not None
    assert again.head.sent == first.head.sent


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST", b"PUT"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"/invocations", b"/versions"),
        (b"\r\n\r\n", b"\r\n"),
        (b"Length: 9", b"Length: 101"),
        (b"Length: 9", b"Length: +9"),
        (b"Length: 9", b"Length: " + b"0" * 5000 + b"9"),
        (b"Length: 9", b"Length: 0000000009"),
        (b"Length: 9", b"Length: \xd9\xa9"),
        (b"Content-Length: 9", b"Transfer-Encoding: chunked"),
        (b"Length: 9\r\n", b"Length: 9\r\nTransfer-Encoding: chunked\r\n"),
        (b"Length: 9\r\n", b"Length: 9\r\nExpect: 100-continue\r\n"),
        (b"Length: 9\r\n", b"Length: 9\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"),
        (b"Length: 9\r\n", b"Length: 9\r\nConnection: close\r\n"),
        (b"Length: 9\r\n", b"Length: 9\r\nHost: other\r\n"),
        (b"Length: 9\r\n", b"Length: 9\r\nno colon\r\n"),
        (b"Length: 9\r\n", b"Length: 9\r\nX: " + b"x" * 9000 + b"\r\n"),
    ],
)
def test_what_is_for_uvicorn_to_read(old: bytes, new: bytes) -> None:
    heads = Heads(100)
    for _ in range(2):
        assert heads.opening(RAW.replace(old, new)) is None


class _Gate:
    """A way to an endpoint `churn` for the token `ci`."""

    def __init__(self, root: Path) -> None:
        self.scene, self.clock = Scene(root), ManualClock(NOW)
        self.scene.serve("churn", Adding())
        credentials = Credentials.of("secret")
        self.callers = Callers(credentials, "user:ada", self.clock)
        self.way = Way(self.scene.lane, Guard(cast("Any", None), credentials, self.callers))

    def passes(self) -> bool:
        async def story() -> bool:
            opening = self.way.heads.opening(RAW)
            assert opening is not None
            taken = self.way.takes(opening, body_of(1.0), Visitor())
            await asyncio.sleep(0)
            return taken

        return asyncio.run(story())


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[_Gate]:
    made = _Gate(tmp_path)
    yield made
    made.scene.close()


def test_a_revoked_token_lets_nobody_in_who_was_in_before(gate: _Gate) -> None:
    assert not gate.passes()
    gate.callers.know([token("churn")])
    assert gate.passes()
    gate.callers.know([token("churn")])
    assert gate.passes()
    gate.callers.know([])
    assert not gate.passes()


def test_nor_does_one_that_expired_or_has_other_rights(gate: _Gate) -> None:
    gate.callers.know([token("churn", expires_at=NOW + timedelta(minutes=1))])
    assert gate.passes()
    gate.clock.set(NOW + timedelta(minutes=1))
    assert not gate.passes()
    gate.callers.know([token("other")])
    assert not gate.passes()
    gate.callers.know([token("churn")])
    assert gate.passes()


def test_what_has_not_changed_is_the_same_badge() -> None:
    callers = Callers(Credentials.of("secret"), "user:ada", ManualClock(NOW))
    callers.know([token("churn")])
    badge = callers.badge(b"Bearer mr_ci")
    callers.know([token("churn")])
    assert badge is not None
    assert callers.badge(b"Bearer mr_ci") is badge
    callers.know([token("other")])
    assert not callers.counts(badge)
