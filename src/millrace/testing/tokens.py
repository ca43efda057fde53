"""What every `TokenStore` must do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta

import pytest

from millrace.access.port import TokenStore
from millrace.access.types import EVERY, Rights, Token, TokenName
from millrace.core.errors import AlreadyExists, NotFound
from millrace.testing.race import race

_T = datetime(2026, 3, 1, 6, 0, 0, 1, tzinfo=UTC)
_RACERS = 4


def token(
    name: str,
    *,
    query: AbstractSet[str] = frozenset(),
    manage: AbstractSet[str] = frozenset(),
    expires_at: datetime | None = None,
    secret: str | None = None,
) -> Token:
    """A token whose digest is that of `secret`, by default of its name."""
    rights = Rights(frozenset(query), frozenset(manage))
    digest = hashlib.sha256((secret or name).encode()).digest()
    return Token(TokenName(name), digest, rights, "user:ada", _T, expires_at)


class TokenStoreSuite:
    """Tests of a `TokenStore`; give the fixture `opened`."""

    def test_a_token_reads_back(self, opened: Callable[[], TokenStore]) -> None:
        one = token("ci", query={"churn", "churn-staging"}, manage={EVERY}, expires_at=_T + timedelta(days=90))
        other = token("_app.1", query={EVERY})
        opened().add(one)
        opened().add(other)
        assert list(opened().list()) == [other, one]

    def test_a_new_store_has_none(self, opened: Callable[[], TokenStore]) -> None:
        assert list(opened().list()) == []
        assert list(opened().list(revoked=True)) == []

    def test_a_revoked_token_is_kept_but_not_in_force(self, opened: Callable[[], TokenStore]) -> None:
        store, kept, ended = opened(), token("kept", query={"a"}), token("ended", query={"a"})
        store.add(kept)
        store.add(ended)
        revoked = store.revoke(ended.name, _T + timedelta(hours=1))
        assert revoked == Token(
            ended.name, ended.digest, ended.rights, ended.owner, ended.created_at, None, _T + timedelta(hours=1)
        )
        assert list(opened().list()) == [kept]
        assert list(opened().list(revoked=True)) == [revoked, kept]

    def test_a_name_is_taken_until_its_token_is_revoked(self, opened: Callable[[], TokenStore]) -> None:
        store, first = opened(), token("ci", query={"a"}, expires_at=_T + timedelta(seconds=1))
        store.add(first)
        second = token("ci", manage={"b"}, secret="another")  # noqa: S106 - a made-up one
        with pytest.raises(AlreadyExists) as caught:
            store.add(second)
        assert "revoke" in caught.value.hint
        store.revoke(first.name, _T)
        store.add(second)
        assert list(opened().list()) == [second]
        assert [each.digest for each in opened().list(revoked=True)] == [first.digest, second.digest]
        assert store.revoke(second.name, _T).digest == second.digest

    def test_what_is_not_in_force_can_not_be_revoked(self, opened: Callable[[], TokenStore]) -> None:
        store = opened()
        store.add(token("pipeline", query={"a"}))
        with pytest.raises(NotFound) as caught:
            store.revoke(TokenName("pipelin"), _T)
        assert "'pipeline'" in caught.value.hint
        store.revoke(TokenName("pipeline"), _T)
        with pytest.raises(NotFound):
            store.revoke(TokenName("pipeline"), _T)

    def test_of_those_who_take_a_name_at_once_one_has_it(self, opened: Callable[[], TokenStore]) -> None:
        opened()
        won: list[bytes] = []

        def take(number: int) -> None:
            mine = token("ci", query={"a"}, secret=f"secret {number}")
            try:
                opened().add(mine)
            except AlreadyExists:
                return
            won.append(mine.digest)

        race(_RACERS, take)
        assert [each.digest for each in opened().list()] == won

    def test_of_those_who_revoke_at_once_one_does(self, opened: Callable[[], TokenStore]) -> None:
        opened().add(token("ci", query={"a"}))
        ended: list[int] = []

        def end(number: int) -> None:
            try:
                opened().revoke(TokenName("ci"), _T + timedelta(seconds=number))
            except NotFound:
                return
            ended.append(number)

        race(_RACERS, end)
        (found,) = opened().list(revoked=True)
        assert len(ended) == 1
        assert found.revoked_at == _T + timedelta(seconds=ended[0])
