"""What every `EpisodeStore` must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.alerts.port import EpisodeStore
from millrace.alerts.types import Episode, EpisodeId, Notification
from millrace.core.errors import NotFound
from millrace.testing.race import race

_T = datetime(2025, 3, 1, 6, tzinfo=UTC)
_DAY = timedelta(days=1)
_NONE = EpisodeId(0)


def episode(rule: str = "drift", subject: str = "endpoint/churn") -> Episode:
    """A new open episode, without an id."""
    data = {"columns": ["recency"], "clean": 0, "score": 1.0}
    return Episode(_NONE, rule, subject, "open", _T, _T + _DAY, _T + _DAY, None, "3 of 3 windows", data)


def notification(key: str) -> Notification:
    """A notification that uses every field."""
    return Notification(key, "Drift: häufiger", "It began.", ("json://localhost", "log://"), _T, {"episode": 1})


class EpisodeStoreSuite:
    """Tests of an `EpisodeStore`; give the fixture `opened`."""

    def test_an_episode_reads_back_with_the_id_that_the_store_gave(self, opened: Callable[[], EpisodeStore]) -> None:
        made = opened().open(episode(), notification("a"))
        assert made == replace(episode(), id=made.id)
        assert made.id > 0
        assert opened().get(made.id) == made
        assert opened().current("drift", "endpoint/churn") == made

    def test_opening_posts_the_notification(self, opened: Callable[[], EpisodeStore]) -> None:
        opened().open(episode(), notification("a"))
        assert list(opened().unsent()) == [notification("a")]

    def test_where_one_is_open_it_is_returned_and_nothing_is_written(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        first = store.open(episode(), notification("a"))
        second = store.open(replace(episode(), reason="other"), notification("b"))
        assert second == first
        assert [found.key for found in store.unsent()] == ["a"]
        assert len(store.list()) == 1

    def test_another_rule_or_subject_opens_its_own(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        made = [
            store.open(one, notification(f"n{number}"))
            for number, one in enumerate([episode(), episode(rule="loss"), episode(subject="endpoint/spend")])
        ]
        assert len({one.id for one in made}) == 3
        assert [found.id for found in store.list()] == [one.id for one in reversed(made)]
        assert [found.id for found in store.list("loss")] == [made[1].id]
        assert [found.id for found in store.list(limit=1)] == [made[2].id]

    def test_a_resolved_episode_makes_room_for_the_next(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        first = store.open(episode(), notification("open-1"))
        resolved = replace(first, status="resolved", last_at=_T + 3 * _DAY, closed_at=_T + 3 * _DAY, data={})
        store.update(resolved, notification("resolved-1"))
        assert store.current("drift", "endpoint/churn") is None
        assert store.get(first.id) == resolved
        second = store.open(episode(), notification("open-2"))
        assert second.id != first.id
        assert [found.key for found in store.unsent()] == ["open-1", "resolved-1", "open-2"]

    def test_an_update_without_a_notification_posts_none(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        made = store.open(episode(), notification("a"))
        store.update(replace(made, last_at=_T + 2 * _DAY))
        assert opened().get(made.id).last_at == _T + 2 * _DAY
        assert [found.key for found in store.unsent()] == ["a"]

    def test_a_key_is_posted_once(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        made = store.open(episode(), notification("a"))
        store.update(made, replace(notification("a"), title="again"))
        assert list(store.unsent()) == [notification("a")]
        store.mark_sent("a", _T)
        store.update(made, notification("a"))
        assert list(store.unsent()) == []

    def test_an_unknown_episode_is_not_found_and_its_notification_is_not_posted(
        self, opened: Callable[[], EpisodeStore]
    ) -> None:
        store = opened()
        with pytest.raises(NotFound):
            store.get(EpisodeId(77))
        with pytest.raises(NotFound):
            store.update(replace(episode(), id=EpisodeId(77)), notification("a"))
        assert list(store.unsent()) == []
        assert store.current("drift", "endpoint/churn") is None

    def test_what_was_sent_leaves_the_outbox_and_what_failed_stays(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        for key in ("a", "b", "c"):
            store.open(episode(subject=key), notification(key))
        store.mark_sent("a", _T)
        store.mark_sent("a", _T + _DAY)
        store.mark_failed("b", "connection refused")
        assert [found.key for found in opened().unsent()] == ["b", "c"]
        assert [found.key for found in opened().unsent(limit=1)] == ["b"]

    def test_of_many_who_open_at_once_one_episode_comes(self, opened: Callable[[], EpisodeStore]) -> None:
        opened()
        made = race(4, lambda number: opened().open(episode(), notification(f"n{number}")))
        assert len({one.id for one in made}) == 1
        assert len(opened().list()) == 1
        assert len(opened().unsent()) == 1
