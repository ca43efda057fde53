"""What every `EpisodeStore` and `Outbox` must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.alerts.port import EpisodeStore, Outbox
from millrace.alerts.types import Delivery, Episode, EpisodeId, Note, Notification
from millrace.core.errors import Conflict, NotFound
from millrace.testing.race import race

_T = datetime(2025, 3, 1, 6, tzinfo=UTC)
_DAY = timedelta(days=1)
_NONE = EpisodeId(0)


def episode(rule: str = "drift", subject: str = "endpoint/churn", kind: str = "drift") -> Episode:
    """A new open episode, without an id."""
    data = {"columns": ["recency"], "clean": 0, "score": 1.0}
    return Episode(_NONE, rule, subject, "open", _T, _T + _DAY, _T + _DAY, None, "3 of 3 windows", data, kind, "opened")


def notification(key: str) -> Notification:
    """A notification that uses every field."""
    return Notification(key, "Drift: häufiger", "It began.", ("slack-risk", "env:MAIL_URL"), _T, {"episode": 1})


class EpisodeStoreSuite:
    """Tests of an `EpisodeStore`; give the fixture `opened`."""

    def test_an_episode_reads_back_with_the_id_that_the_store_gave(self, opened: Callable[[], EpisodeStore]) -> None:
        made = opened().open(episode(), notification("a"))
        assert made == replace(episode(), id=made.id)
        assert made.id > 0
        assert opened().get(made.id) == made
        assert opened().current("drift", "endpoint/churn") == made
        assert opened().latest("drift", "endpoint/churn", "drift") == made
        assert list(opened().open_now()) == [made]

    def test_opening_posts_the_notification(self, opened: Callable[[], EpisodeStore]) -> None:
        opened().open(episode(), notification("a"))
        assert list(opened().posted()) == [notification("a")]

    def test_where_one_is_open_it_is_returned_and_nothing_is_written(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        first = store.open(episode(), notification("a"))
        second = store.open(replace(episode(), reason="other"), notification("b"))
        assert second == first
        assert [found.key for found in store.posted()] == ["a"]
        assert len(store.list()) == 1

    def test_another_rule_subject_or_kind_opens_its_own(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        made = [
            store.open(one, notification(f"n{number}"))
            for number, one in enumerate(
                [episode(), episode(rule="loss"), episode(subject="endpoint/spend"), episode(kind="quality")]
            )
        ]
        assert len({one.id for one in made}) == 4
        assert [found.id for found in store.list()] == [one.id for one in reversed(made)]
        assert [found.id for found in store.list("loss")] == [made[1].id]
        assert [found.id for found in store.list(limit=1)] == [made[3].id]
        assert [found.id for found in store.open_now("drift", "endpoint/churn")] == [made[0].id, made[3].id]
        assert store.current("drift", "endpoint/churn") == made[0]
        assert store.current("drift", "endpoint/churn", "quality") == made[3]
        assert store.latest("drift", "endpoint/churn", "volume") is None

    def test_a_resolved_episode_makes_room_for_the_next(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        first = store.open(episode(), notification("open-1"))
        resolved = replace(first, status="resolved", last_at=_T + 3 * _DAY, closed_at=_T + 3 * _DAY, data={})
        store.update(resolved, notification("resolved-1"))
        assert store.current("drift", "endpoint/churn") is None
        assert store.get(first.id) == replace(resolved, revision=1)
        assert store.latest("drift", "endpoint/churn", "drift") == replace(resolved, revision=1)
        assert list(store.open_now()) == []
        second = store.open(episode(), notification("open-2"))
        assert second.id != first.id
        assert [found.key for found in store.posted()] == ["open-1", "resolved-1", "open-2"]

    def test_an_update_without_a_notification_posts_none(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        made = store.open(episode(), notification("a"))
        store.update(replace(made, last_at=_T + 2 * _DAY))
        assert opened().get(made.id).last_at == _T + 2 * _DAY
        assert [found.key for found in store.posted()] == ["a"]

    def test_a_key_is_posted_once(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        made = store.open(episode(), notification("a"))
        store.update(made, replace(notification("a"), title="again"))
        assert list(store.posted()) == [notification("a")]
        assert list(store.posted(made.id)) == [notification("a")]
        assert list(store.posted(EpisodeId(made.id + 1))) == []

    def test_who_changes_what_another_has_changed_is_told_so(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        made = store.open(episode())
        after = store.update(replace(made, status="resolved", owed="resolved", closed_at=_T + _DAY))
        with pytest.raises(Conflict):
            store.update(replace(made, reason="still"), notification("a"))
        assert store.get(made.id) == after
        assert list(store.posted()) == []
        assert store.update(replace(after, owed="")).revision == 2

    def test_what_is_owed_is_found_until_it_is_told(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        one, two = store.open(episode()), store.open(episode(kind="quality"))
        assert [found.id for found in store.owed()] == [one.id, two.id]
        store.update(replace(one, owed=""), notification("a"))
        assert [found.id for found in opened().owed()] == [two.id]

    def test_notes_are_kept_in_order_and_once_for_each_key(self, opened: Callable[[], EpisodeStore]) -> None:
        store = opened()
        made = store.open(episode())
        lines = [
            Note(_T, "user:ada", "retrained as v7", "trained"),
            Note(_T + _DAY, "system:alerts", "refused: häufiger"),
        ]
        assert [store.note(made.id, line) for line in lines] == [True, True]
        assert store.note(made.id, Note(_T + 2 * _DAY, "user:bob", "retrained as v8", "trained")) is False
        assert [(note.at, note.by, note.text) for note in opened().notes(made.id)] == [
            (line.at, line.by, line.text) for line in lines
        ]
        with pytest.raises(NotFound):
            store.note(EpisodeId(77), lines[0])

    def test_an_unknown_episode_is_not_found_and_its_notification_is_not_posted(
        self, opened: Callable[[], EpisodeStore]
    ) -> None:
        store = opened()
        with pytest.raises(NotFound):
            store.get(EpisodeId(77))
        with pytest.raises(NotFound):
            store.update(replace(episode(), id=EpisodeId(77)), notification("a"))
        assert list(store.posted()) == []
        assert store.current("drift", "endpoint/churn") is None

    def test_of_many_who_open_at_once_one_episode_comes(self, opened: Callable[[], EpisodeStore]) -> None:
        opened()
        made = race(4, lambda number: opened().open(episode(), notification(f"n{number}")))
        assert len({one.id for one in made}) == 1
        assert len(opened().list()) == 1
        assert len(opened().posted()) == 1


class OutboxSuite:
    """Tests of an `Outbox`; give the fixtures `episodes`, the store that posts into it, and `opened`."""

    def test_each_channel_of_a_notification_has_a_delivery(
        self, episodes: EpisodeStore, opened: Callable[[], Outbox]
    ) -> None:
        made = episodes.open(episode(), notification("a"))
        episodes.open(episode(kind="quality"), replace(notification("b"), channels=()))
        first, second = opened().waiting()
        assert first == Delivery(first.id, made.id, "slack-risk", notification("a"), "waiting", 0, _T)
        assert second == replace(first, id=second.id, channel="env:MAIL_URL")
        assert list(opened().of(made.id)) == [first, second]
        assert [found.id for found in opened().waiting(limit=1)] == [first.id]

    def test_what_a_channel_took_is_not_its_again(self, episodes: EpisodeStore, opened: Callable[[], Outbox]) -> None:
        made = episodes.open(episode(), notification("a"))
        outbox = opened()
        first, second = outbox.waiting()
        outbox.trying(first.id)
        outbox.sent(first.id, _T + _DAY)
        assert list(opened().waiting()) == [second]
        assert opened().of(made.id)[0] == replace(first, status="sent", attempts=1, sent_at=_T + _DAY)

    def test_what_failed_waits_or_is_dead_until_it_is_revived(
        self, episodes: EpisodeStore, opened: Callable[[], Outbox]
    ) -> None:
        episodes.open(episode(), notification("a"))
        outbox = opened()
        first, second = outbox.waiting()
        outbox.trying(first.id)
        outbox.failed(first.id, "answered 500", _T + _DAY)
        outbox.trying(second.id)
        outbox.failed(second.id, "answered 410", None)
        later = replace(first, attempts=1, next_at=_T + _DAY, error="answered 500")
        given_up = replace(second, attempts=1, status="dead", error="answered 410")
        assert list(opened().waiting()) == [later]
        assert list(opened().dead()) == [given_up]
        assert outbox.revive(_T + 2 * _DAY) == 1
        assert list(opened().dead()) == []
        assert opened().waiting()[1] == replace(given_up, status="waiting", attempts=0, next_at=_T + 2 * _DAY)

    def test_an_unknown_delivery_is_not_found(self, opened: Callable[[], Outbox]) -> None:
        with pytest.raises(NotFound):
            opened().sent(77, _T)

    def test_one_delivers_at_a_time(self, opened: Callable[[], Outbox]) -> None:
        first, second = opened(), opened()
        with first.alone() as mine, second.alone() as theirs:
            assert (mine, theirs) == (True, False)
        with second.alone() as mine:
            assert mine
