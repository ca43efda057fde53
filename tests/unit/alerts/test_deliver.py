from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from millrace.alerts.deliver import ATTEMPTS, WAITS, Delivered, Gone, deliver, send_test
from millrace.alerts.types import Episode, EpisodeId, Notification
from millrace.core.errors import MillraceError, NotFound
from tests.unit.alerts.desk import DAY, START, Home, refused


def episode(subject: str) -> Episode:
    return Episode(EpisodeId(0), "churn", subject, "open", START, START, START, None, "KS 0.31", {}, "drift")


def message(key: str, *channels: str) -> Notification:
    return Notification(key, "drift", "KS 0.31", channels, START, {"type": "io.millrace.alert.opened"})


class Post(Home):
    """Episodes with a notification each, to channels that were named."""

    def post(self, subject: str, *channels: str) -> Episode:
        for name in channels:
            if name not in {channel.name for channel in self.desk.book.list()} and not name.startswith(("env:", "no")):
                self.channel(name)
        return self.desk.episodes.open(episode(subject), message(f"opened/{subject}", *channels))

    def statuses(self, of: Episode) -> Sequence[tuple[str, str, int]]:
        return [(each.channel, each.status, each.attempts) for each in self.desk.outbox.of(of.id)]


def test_each_channel_gets_it_once() -> None:
    post = Post()
    one = post.post("a", "risk", "ops")
    post.post("b")  # no channel: for the workspace's own log
    assert deliver(post.desk) == Delivered(sent=2)
    assert deliver(post.desk) == Delivered()
    assert post.sent.taken == [("json://risk", "opened/a"), ("json://ops", "opened/a")]
    assert post.statuses(one) == [("risk", "sent", 1), ("ops", "sent", 1)]


def test_one_that_fails_blocks_no_other_and_waits_longer_each_time() -> None:
    post = Post()
    bad, good = post.post("a", "broken"), post.post("b", "risk", "broken")
    post.sent.broken["json://broken"] = refused("json://broken/*** answered 500")
    assert deliver(post.desk) == Delivered(sent=1, failed=2)
    assert post.statuses(good) == [("risk", "sent", 1), ("broken", "waiting", 1)]
    (waits,) = post.desk.outbox.of(bad.id)
    assert (waits.next_at, waits.error) == (START + timedelta(seconds=5), "json://broken/*** answered 500")
    assert deliver(post.desk) == Delivered()
    post.clock.set(START + timedelta(seconds=5))
    del post.sent.broken["json://broken"]
    assert deliver(post.desk) == Delivered(sent=2)
    assert post.sent.keys() == ["opened/b", "opened/a", "opened/b"]


def test_it_is_given_up_after_the_last_attempt_and_can_be_revived() -> None:
    post = Post()
    one = post.post("a", "broken")
    post.sent.broken["json://broken"] = refused()
    waits = []
    for _ in range(ATTEMPTS - 1):
        assert deliver(post.desk) == Delivered(failed=1)
        (each,) = post.desk.outbox.waiting()
        waits.append(each.next_at - post.clock.now())
        post.clock.set(each.next_at)
    assert tuple(waits) == WAITS
    assert deliver(post.desk) == Delivered(dead=1)
    assert post.statuses(one) == [("broken", "dead", ATTEMPTS)]
    assert [each.error for each in post.desk.outbox.dead()] == ["answered 500"]
    post.clock.advance(30 * DAY)
    assert deliver(post.desk) == Delivered()
    del post.sent.broken["json://broken"]
    assert post.desk.outbox.revive(post.clock.now()) == 1
    assert deliver(post.desk) == Delivered(sent=1)


def test_a_channel_that_is_gone_is_given_up_at_once() -> None:
    post = Post()
    one = post.post("a", "broken")
    post.sent.broken["json://broken"] = Gone("answered 410")
    assert deliver(post.desk) == Delivered(dead=1)
    assert post.statuses(one) == [("broken", "dead", 1)]


def test_an_end_waits_for_its_beginning() -> None:
    post = Post()
    one = post.post("a", "broken", "risk")
    post.sent.broken["json://broken"] = refused()
    deliver(post.desk)
    post.desk.episodes.update(replace(one, status="resolved"), message("resolved/a", "broken", "risk"))
    assert deliver(post.desk) == Delivered(sent=1)  # risk has had the beginning
    del post.sent.broken["json://broken"]
    post.clock.advance(DAY)
    assert deliver(post.desk) == Delivered(sent=2)
    assert [key for url, key in post.sent.taken if url == "json://broken"] == ["opened/a", "resolved/a"]


class Killed(BaseException):
    """The process ends."""


def test_what_was_sent_but_not_marked_is_sent_again_under_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post()
    post.post("a", "risk")
    with monkeypatch.context() as dying:
        dying.setattr(post.desk.outbox, "sent", _die)
        with pytest.raises(Killed):
            deliver(post.desk)
    assert deliver(post.desk) == Delivered(sent=1)
    assert post.sent.keys() == ["opened/a", "opened/a"]


def _die(*_: object) -> None:
    raise Killed


def test_a_message_that_kills_its_sender_is_given_up_and_the_others_go_out() -> None:
    post = Post()
    poison = post.post("a", "poison")
    post.post("b", "risk")
    post.sent.broken["json://poison"] = Killed()
    for _ in range(ATTEMPTS):
        with pytest.raises(Killed):
            deliver(post.desk)
    assert deliver(post.desk) == Delivered(sent=1, dead=1)
    assert post.statuses(poison) == [("poison", "dead", ATTEMPTS)]
    assert post.desk.outbox.dead()[0].error == "the process ended while it was sent"


def test_a_channel_that_there_is_not_fails_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post()
    post.post("a", "nobody", "env:ALERT_URL")
    assert deliver(post.desk) == Delivered(failed=2)
    assert [each.error for each in post.desk.outbox.waiting()] == [
        "there is no channel 'nobody'",
        "the environment variable ALERT_URL is not set",
    ]
    monkeypatch.setenv("ALERT_URL", "json://from-env")
    post.clock.advance(DAY)
    post.channel("nobody")
    assert deliver(post.desk) == Delivered(sent=2)
    assert [url for url, _ in post.sent.taken] == ["json://nobody", "json://from-env"]


def test_another_process_that_delivers_is_left_to_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'millrace.db'}"
    post, other = Post(url), Post(url)
    post.post("a", "risk")
    with other.desk.outbox.alone():
        assert deliver(post.desk) == Delivered()
    assert deliver(post.desk) == Delivered(sent=1)


def test_a_test_goes_past_the_outbox() -> None:
    post = Post()
    post.channel("risk")
    assert send_test(post.desk, "risk") == post.sent.taken[0][1]
    assert list(post.desk.outbox.waiting()) == []
    post.sent.broken["json://risk"] = refused()
    with pytest.raises(MillraceError, match="answered 500"):
        send_test(post.desk, "risk")
    with pytest.raises(NotFound):
        send_test(post.desk, "nobody")
