from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from millrace.alerts.adapters.sql_episodes import SqlEpisodeStore
from millrace.alerts.evaluate import OPENED, RESOLVED, evaluate, resolve
from millrace.alerts.types import AlertRule, Episode, Notification, Observation
from millrace.core.clock import ManualClock, iso
from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.events import Event
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog

START = datetime(2025, 3, 1, tzinfo=UTC)
RULE = AlertRule("churn", channels=("json://localhost",))


class Desk:
    """A rule with its store, log and clock."""

    def __init__(self, rule: AlertRule = RULE) -> None:
        self.rule = rule
        self.engine: Engine = open_database("sqlite://")
        self.store = SqlEpisodeStore(self.engine)
        self.events = SqlEventLog(self.engine)
        self.clock = ManualClock(START)

    def see(self, observations: Sequence[Observation]) -> Episode | None:
        if observations:
            self.clock.set(max([self.clock.now(), *(one.at for one in observations)]))
        return evaluate(self.store, self.events, self.clock, self.rule, observations)

    def told(self) -> list[str]:
        return [str(one.data["type"]).rpartition(".")[2] for one in self.store.unsent()]

    def logged(self) -> list[str]:
        return [event.kind for event in self.events.read()]


def days(marks: str, kind: str = "drift", subject: str = "endpoint/churn", first: int = 1) -> list[Observation]:
    """One observation a day: x bad, . good, ? not enough to say."""
    meaning = {"x": True, ".": False, "?": None}
    return [
        Observation(subject, kind, START + timedelta(days=at), meaning[mark], f"{kind} {mark} on day {at}", {"day": at})
        for at, mark in enumerate(marks, start=first)
    ]


@pytest.mark.parametrize(
    ("marks", "opens", "began"),
    [
        ("x", None, None),
        ("xx", 2, 1),
        ("x.x", 3, 1),
        ("x..x", None, None),
        ("x.?x", 4, 1),
        ("?x?.?x", 6, 2),
        ("...", None, None),
    ],
)
def test_an_episode_opens_at_two_bad_of_the_last_three_that_say_something(
    marks: str, opens: int | None, began: int | None
) -> None:
    desk = Desk()
    opened = [at for at in range(1, len(marks) + 1) if desk.see(days(marks)[:at])]
    assert opened[:1] == ([] if opens is None else [opens])
    if began is not None:
        (episode,) = desk.store.list()
        assert episode.began_at == START + timedelta(days=began)
        assert episode.reason == f"drift x on day {opens}"
        assert desk.told() == ["opened"]
        assert desk.logged() == [OPENED]


def test_giving_the_same_again_does_nothing() -> None:
    desk = Desk()
    history = days("xx.x...xx")
    for end in (3, 3, 5, 7, 7, 9, 9):
        desk.see(history[:end])
    before = (desk.store.list(), desk.told(), desk.logged())
    desk.see(history)
    assert (desk.store.list(), desk.told(), desk.logged()) == before
    assert desk.told() == ["opened", "resolved", "opened"]
    assert desk.logged() == [OPENED, RESOLVED, OPENED]


@given(st.text("x.?", min_size=1, max_size=25), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_episodes_do_not_depend_on_how_often_one_looks(marks: str, step: int, again: int) -> None:
    often, seldom = Desk(), Desk()
    for at in range(1, len(marks) + 1):
        often.see(days(marks)[:at])
    # Everything is given each time, in the end often enough for each change of state to have had its call.
    for at in [*range(step, len(marks), step), *[len(marks)] * (len(marks) + again)]:
        seldom.see(days(marks)[:at])
    assert [(e.status, e.began_at, e.last_at, e.reason) for e in often.store.list()] == [
        (e.status, e.began_at, e.last_at, e.reason) for e in seldom.store.list()
    ]
    assert often.told() == seldom.told()


@given(st.text("x.?", max_size=30))
@settings(max_examples=40, deadline=None)
def test_openings_and_resolutions_take_turns(marks: str) -> None:
    desk = Desk()
    for at in range(1, len(marks) + 1):
        desk.see(days(marks)[:at])
    assert desk.told() == [["opened", "resolved"][at % 2] for at in range(len(desk.told()))]
    assert sum(episode.status == "open" for episode in desk.store.list()) <= 1
    assert desk.logged().count(OPENED) == len(desk.store.list())


def test_it_resolves_after_three_good_ones_in_a_row() -> None:
    desk = Desk()
    desk.see(days("xx"))
    assert desk.see(days("xx..x..")) is not None
    assert desk.store.current("churn", "endpoint/churn") is not None
    ended = desk.see(days("xx..x..?."))
    assert ended is not None
    assert (ended.status, ended.last_at, ended.closed_at) == ("resolved", START + timedelta(days=5), desk.clock.now())
    assert desk.store.current("churn", "endpoint/churn") is None
    assert desk.told() == ["opened", "resolved"]


def test_what_an_ended_episode_has_seen_opens_no_other() -> None:
    desk = Desk()
    history = [*days("xx...", "drift"), *days("xx...", "performance")]
    desk.see(history)
    desk.see(history)
    assert desk.see(days("xx...x")) is None
    assert desk.see(days("xx...xx")) is not None
    # Old bad observations of the other kind are known, and hold the new episode open no longer.
    desk.see([*days("xx...xx..."), *days("xx...", "performance")])
    assert [episode.status for episode in desk.store.list()] == ["resolved", "resolved"]


def test_all_that_was_bad_must_be_good_again() -> None:
    # Labels come late: performance windows lie further back, and count for themselves.
    desk = Desk()
    desk.see(days("xx", "drift"))
    episode = desk.see([*days("xx", "drift"), *days("x", "performance", first=-80)])
    assert episode is not None
    assert episode.data["kinds"] == ["drift", "performance"]
    still = desk.see([*days("xx...", "drift"), *days("x..", "performance", first=-80)])
    assert still is not None
    assert still.status == "open"
    ended = desk.see([*days("xx...", "drift"), *days("x...", "performance", first=-80)])
    assert ended is not None
    assert ended.status == "resolved"


def test_an_open_episode_is_told_again_after_a_while() -> None:
    desk = Desk(replace(RULE, repeat_after=timedelta(days=2)))
    for at in range(1, 8):
        desk.see(days("xxxxxxx")[:at])
    assert desk.told() == ["opened", "repeated", "repeated"]  # opened on day 2, told again on days 4 and 6
    keys = [notification.key for notification in desk.store.unsent()]
    assert len(set(keys)) == 3


def test_other_kinds_are_not_heard() -> None:
    desk = Desk(replace(RULE, kinds=("performance",)))
    assert desk.see(days("xxx", "drift")) is None
    assert desk.see(days("xx", "performance")) is not None


def test_messages_say_what_since_when_and_why() -> None:
    desk = Desk()
    desk.see(days("xx"))
    (message,) = desk.store.unsent()
    assert message.title == "endpoint/churn: drift alert opened"
    assert message.body == "drift x on day 2\nIt began 2025-03-02T00:00:00Z (rule 'churn')."
    assert message.channels == RULE.channels
    assert message.data["type"] == "io.millrace.alert.opened"
    assert message.data["opened_at"] == iso(START + timedelta(days=2))


def test_one_may_be_resolved_by_hand_once() -> None:
    desk = Desk()
    episode = desk.see(days("xx"))
    assert episode is not None
    ended = resolve(desk.store, desk.events, desk.clock, RULE, episode, why="v2 has replaced v1")
    assert desk.store.get(episode.id) == ended
    assert desk.logged() == [OPENED, RESOLVED]
    assert "v2 has replaced v1" in desk.store.unsent()[1].body
    with pytest.raises(InvalidState, match="already resolved"):
        resolve(desk.store, desk.events, desk.clock, RULE, ended, why="again")


class Forgetful(SqlEventLog):
    """A log whose process dies before it writes."""

    def append(self, event: Event) -> int:
        raise KeyboardInterrupt(event.kind)


def test_an_event_that_a_crash_swallowed_is_written_by_the_next_evaluation() -> None:
    desk = Desk()
    for marks in ("xx", "xx..."):
        with pytest.raises(KeyboardInterrupt):
            evaluate(desk.store, Forgetful(desk.engine), desk.clock, RULE, days(marks))
        desk.see(days(marks))
        desk.see(days(marks))
    assert desk.logged() == [OPENED, RESOLVED]
    assert desk.told() == ["opened", "resolved"]


class Rival(SqlEpisodeStore):
    """A store in which somebody else opens the episode first."""

    def open(self, episode: Episode, notification: Notification) -> Episode:
        super().open(replace(episode, reason="theirs"), notification)
        return super().open(episode, notification)


def test_of_two_who_open_at_once_one_does() -> None:
    desk = Desk()
    desk.store = Rival(desk.engine)
    episode = desk.see(days("xx"))
    assert episode is not None
    assert (episode.reason, len(desk.store.list()), desk.told(), desk.logged()) == ("theirs", 1, ["opened"], [OPENED])


def test_nothing_seen_is_nothing_done() -> None:
    assert Desk().see([]) is None


@pytest.mark.parametrize("change", [{"breaches": 4}, {"breaches": 0}, {"resolve_after": 0}])
def test_rules_that_can_never_open_or_end_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="alert rule 'churn'"):
        Desk(replace(RULE, **change)).see(days("x"))  # type: ignore[arg-type]


def test_one_subject_at_a_time() -> None:
    with pytest.raises(InvalidInput, match="2 subjects"):
        Desk().see([*days("x", subject="a"), *days("x", subject="b")])
