from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.api.auth import SESSION, Credentials, home_token
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidState

NOW = datetime(2025, 3, 1, tzinfo=UTC)


def _cookie(set_cookie: str) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", set_cookie.partition(";")[0].encode())]


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: home_token(tmp_path), range(16)))
    assert len(tokens) == 1
    assert len(tokens.pop()) >= 40
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_an_empty_token_file_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    with pytest.raises(InvalidState):
        home_token(tmp_path)


def test_a_session_ends() -> None:
    clock = ManualClock(NOW)
    credentials = Credentials.of("secret", clock)
    cookie = _cookie(credentials.set_cookie())
    assert credentials.cookie(cookie)
    clock.set(NOW + SESSION - timedelta(seconds=1))
    assert credentials.cookie(cookie)
    clock.set(NOW + SESSION)
    assert not credentials.cookie(cookie)


def test_over_tls_the_cookie_stays_there() -> None:
    credentials = Credentials.of("secret", ManualClock(NOW))
    assert credentials.set_cookie(secure=True).endswith("; Secure")
    assert "Secure" not in credentials.set_cookie()


def test_another_token_makes_another_session() -> None:
    clock = ManualClock(NOW)
    ours, theirs = Credentials.of("secret", clock), Credentials.of("other", clock)
    value = theirs.set_cookie().partition(";")[0].partition("=")[2]
    assert ours.cookie_name != theirs.cookie_name
    assert not ours.cookie([(b"cookie", f"{ours.cookie_name}={value}".encode())])
    assert not ours.cookie(_cookie(ours.clear_cookie()))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_other_bytes_are_a_session(noise: bytes) -> None:
    credentials = Credentials.of("secret", ManualClock(NOW))
    named = credentials.cookie_name.encode() + b"=9999999999." + noise
    assert not credentials.cookie([(b"cookie", noise)])
    assert not credentials.cookie([(b"cookie", named)])
