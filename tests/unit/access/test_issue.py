from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from millrace.access.issue import issue
from millrace.access.show import as_json
from millrace.access.types import EVERY, Rights, Token, TokenName
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput
from millrace.core.principal import Principal

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
ADA = Principal("user", "ada")


class Kept:
    """A store in memory."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []

    def add(self, token: Token) -> None:
        self.tokens.append(token)

    def list(self, *, revoked: bool = False) -> Sequence[Token]:
        raise AssertionError(revoked)

    def revoke(self, name: TokenName, at: datetime) -> Token:
        raise AssertionError(name, at)


def make(
    name: str = "ci", query: Sequence[str] = ("churn",), manage: Sequence[str] = (), expires: str | None = None
) -> tuple[Token, str]:
    rights = Rights(frozenset(query), frozenset(manage))
    return issue(Kept(), ManualClock(NOW), ADA, name, rights=rights, expires=expires)


def test_the_secret_is_told_once_and_only_its_digest_is_kept() -> None:
    store, rights = Kept(), Rights(query=frozenset({"churn"}))
    token, secret = issue(store, ManualClock(NOW), ADA, "ci", rights=rights)
    assert store.tokens == [token]
    assert secret.startswith("mr_")
    assert len(secret) == 3 + 43  # 32 bytes in base64 without padding
    assert token.digest == hashlib.sha256(secret.encode()).digest()
    assert (token.owner, token.created_at, token.expires_at) == ("user:ada", NOW, None)
    for shown in (repr(token), str(as_json(token))):
        assert secret not in shown
        assert token.digest.hex() not in shown
        assert repr(token.digest) not in shown


def test_no_two_secrets_are_alike() -> None:
    assert len({make()[1] for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("30m", NOW + timedelta(minutes=30)),
        ("2w", NOW + timedelta(days=14)),
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
        ("2026-03-01T09:00:00+02:00", NOW + timedelta(hours=1)),
        (None, None),
    ],
)
def test_when_a_token_ends(text: str | None, end: datetime | None) -> None:
    assert make(expires=text)[0].expires_at == end


@pytest.mark.parametrize("text", ["", "soon", "90", "d", "-1d", "1y", "0d", "2026-03-01", "999999w", "90 d"])
def test_what_is_no_end_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make(expires=text)
    assert "90d" in caught.value.hint


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "a" * 65, "\u00e9", "a\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        make(name)


@pytest.mark.parametrize("endpoint", ["", "a b", "a/b", "**", "a" * 129])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    for query, manage in (([endpoint], []), ([], [endpoint])):
        with pytest.raises(InvalidInput, match="endpoint"):
            make(query=query, manage=manage)


def test_a_token_without_rights_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no rights"):
        make(query=())


@pytest.mark.parametrize(
    ("query", "manage", "may_query", "may_manage", "level"),
    [
        ((), (), False, False, None),
        (("churn",), (), True, False, "CAN_QUERY"),
        (("churn-staging",), (), False, False, None),
        ((EVERY,), (), True, False, "CAN_QUERY"),
        ((), ("churn",), True, True, "CAN_MANAGE"),
        ((), (EVERY,), True, True, "CAN_MANAGE"),
        (("churn",), ("other",), True, False, "CAN_QUERY"),
    ],
)
def test_rights(
    query: Sequence[str],
    manage: Sequence[str],
    may_query: bool,  # noqa: FBT001 - columns of the table
    may_manage: bool,  # noqa: FBT001
    level: str | None,
) -> None:
    rights = Rights(frozenset(query), frozenset(manage))
    assert (rights.may_query("churn"), rights.may_manage("churn")) == (may_query, may_manage)
    assert rights.level("churn") == level


def test_the_standing_of_a_token() -> None:
    token, _ = make(expires="1h")
    assert token.standing(NOW) == "in force"
    assert token.standing(NOW + timedelta(hours=1)) == "expired"
    assert make()[0].standing(NOW + timedelta(days=10_000)) == "in force"
    assert str(token.caller.principal) == token.caller.name == "token:ci"
