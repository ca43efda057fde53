from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.alerts.adapters.sql_episodes import SqlEpisodeStore
from millrace.alerts.evaluate import OPENED, RESOLVED, evaluate, resolve
from millrace.alerts.types import AlertRule, Episode, Notification, Observation
from millrace.core.errors import Conflict, InvalidInput, InvalidState
from millrace.core.events import Event
from millrace.database.events import SqlEventLog
from tests.unit.alerts.desk import DAY, START, Home, days

RULE = AlertRule("churn")


class Watcher(Home):
    """A rule that sees observations on their days."""

    def __init__(self, rule: AlertRule = RULE) -> None:
        super().__init__()
        self.rule, self.store = rule, self.desk.episodes

    def see(self, observations: Sequence[Observation]) -> Episode | None:
        if observations:
            self.clock.set(max([self.clock.now(), *(one.at for one in observations)]))
        return evaluate(self.store, self.desk.events, self.clock, self.rule, observations)

    def statuses(self) -> list[str]:
        return [episode.status for episode in self.store.list()]


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
        ("X", 1, 1),
        (".X", 2, 2),
        ("iiii", None, None),
        ("xix", 3, 1),
    ],
)
def test_an_episode_opens_at_two_bad_of_the_last_three_that_say_something(
    marks: str, opens: int | None, began: int | None
) -> None:
    watcher = Watcher()
    opened = [at for at in range(1, len(marks) + 1) if watcher.see(days(marks)[:at])]
    assert opened[:1] == ([] if opens is None else [opens])
    if opens is not None and began is not None:
        (episode,) = watcher.store.list()
        assert (episode.began_at, episode.kind, episode.owed) == (START + timedelta(days=began), "drift", "opened")
        assert episode.reason == days(marks)[opens - 1].reason
        assert watcher.logged() == [OPENED]


def test_a_critical_observation_waits_for_others_where_the_rule_says_so() -> None:
    watcher = Watcher(replace(RULE, critical_at_once=False))
    assert watcher.see(days("X")) is None
    assert watcher.see(days("X.x")) is not None


def test_giving_the_same_again_does_nothing() -> None:
    watcher = Watcher()
    history = days("xx.x...xx")
    for end in (3, 3, 5, 7, 7, 9, 9):
        watcher.see(history[:end])
    before = (watcher.store.list(), watcher.logged())
    watcher.see(history)
    assert (watcher.store.list(), watcher.logged()) == before
    assert watcher.logged() == [OPENED, RESOLVED, OPENED]


@given(st.text("x.?Xi", min_size=1, max_size=25), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_episodes_do_not_depend_on_how_often_one_looks(marks: str, step: int) -> None:
    often, seldom = Watcher(), Watcher()
    for at in range(1, len(marks) + 1):
        often.see(days(marks)[:at])
    for at in [*range(step, len(marks), step), len(marks)]:
        seldom.see(days(marks)[:at])
    assert [(e.status, e.began_at, e.last_at, e.reason) for e in often.store.list()] == [
        (e.status, e.began_at, e.last_at, e.reason) for e in seldom.store.list()
    ]
    assert often.logged() == seldom.logged()


@given(st.text("x.?", max_size=30))
@settings(max_examples=40, deadline=None)
def test_openings_and_resolutions_take_turns(marks: str) -> None:
    watcher = Watcher()
    for at in range(1, len(marks) + 1):
        watcher.see(days(marks)[:at])
    assert watcher.logged() == [[OPENED, RESOLVED][at % 2] for at in range(len(watcher.logged()))]
    assert watcher.statuses().count("open") <= 1
    assert watcher.logged().count(OPENED) == len(watcher.store.list())


def test_it_resolves_after_three_good_ones_in_a_row() -> None:
    watcher = Watcher()
    watcher.see(days("xx"))
    assert watcher.see(days("xx..x..")) is not None
    assert watcher.store.current("churn", "endpoint/churn") is not None
    ended = watcher.see(days("xx..x..?i"))  # what is only info counts as good
    assert ended is not None
    assert (ended.status, ended.last_at, ended.closed_at) == ("resolved", START + 5 * DAY, watcher.clock.now())
    assert watcher.store.current("churn", "endpoint/churn") is None


def test_what_an_ended_episode_has_seen_opens_no_other() -> None:
    watcher = Watcher()
    watcher.see(days("xx..."))
    watcher.see(days("xx...x"))
    assert watcher.statuses() == ["resolved"]
    watcher.see(days("xx...xx"))
    assert watcher.statuses() == ["open", "resolved"]


def test_each_kind_of_trouble_has_an_episode_of_its_own() -> None:
    # Labels come late: performance windows lie further back, and count for themselves.
    watcher = Watcher()
    late = days("xx", "performance", first=-80)
    first = watcher.see([*days("xx", "drift"), *late])
    assert first is not None
    assert sorted(one.kind for one in watcher.store.open_now()) == ["drift", "performance"]
    watcher.see([*days("xx...", "drift"), *late])
    (still,) = watcher.store.open_now()
    assert (still.kind, still.data["kinds"]) == ("performance", ["performance"])
    watcher.see([*days("xx...", "drift"), *days("xx...", "performance", first=-80)])
    assert watcher.statuses() == ["resolved", "resolved"]


def test_other_kinds_are_not_heard() -> None:
    watcher = Watcher(replace(RULE, kinds=("performance",)))
    assert watcher.see(days("xxx", "drift")) is None
    assert watcher.see(days("xx", "performance")) is not None


def test_one_may_be_resolved_by_hand_once() -> None:
    watcher = Watcher()
    episode = watcher.see(days("xx"))
    assert episode is not None
    why = "v2 has replaced v1"
    ended = resolve(watcher.store, watcher.desk.events, watcher.clock, RULE, episode, why=why)
    assert watcher.store.get(episode.id) == ended
    assert ended.data["resolved_because"] == why
    assert watcher.logged() == [OPENED, RESOLVED]
    with pytest.raises(InvalidState, match="already resolved"):
        resolve(watcher.store, watcher.desk.events, watcher.clock, RULE, episode, why="again")


class Forgetful(SqlEventLog):
    """A log whose process dies before it writes."""

    def append(self, event: Event) -> int:
        raise KeyboardInterrupt(event.kind)


def test_an_event_that_a_crash_swallowed_is_written_by_the_next_evaluation() -> None:
    watcher = Watcher()
    for marks in ("xx", "xx..."):
        with pytest.raises(KeyboardInterrupt):
            evaluate(watcher.store, Forgetful(watcher.engine), watcher.clock, RULE, days(marks))
        watcher.see(days(marks))
        watcher.see(days(marks))
    assert watcher.logged() == [OPENED, RESOLVED]


class Rival(SqlEpisodeStore):
    """A store in which somebody else is faster: opens the episode first, and changes it before the first update."""

    changes = 0

    def open(self, episode: Episode, notification: Notification | None = None) -> Episode:
        super().open(replace(episode, reason="theirs"), notification)
        return super().open(episode, notification)

    def update(self, episode: Episode, notification: Notification | None = None) -> Episode:
        self.changes += 1
        if self.changes == 1:
            super().update(self.get(episode.id))
        return super().update(episode, notification)


def test_of_two_who_change_something_at_once_one_does_and_the_other_looks_again() -> None:
    watcher = Watcher()
    watcher.store = Rival(watcher.engine)
    episode = watcher.see(days("xx"))
    assert episode is not None
    assert (episode.reason, len(watcher.store.list()), watcher.logged()) == ("theirs", 1, [OPENED])
    ended = watcher.see(days("xx..."))
    assert ended is not None
    assert (ended.status, ended.revision, watcher.logged()) == ("resolved", 2, [OPENED, RESOLVED])


class Restless(SqlEpisodeStore):
    """A store in which somebody is always faster."""

    def update(self, episode: Episode, notification: Notification | None = None) -> Episode:
        super().update(self.get(episode.id))
        return super().update(episode, notification)


def test_who_is_never_fast_enough_gives_up() -> None:
    watcher = Watcher()
    watcher.see(days("xx"))
    watcher.store = Restless(watcher.engine)
    with pytest.raises(Conflict):
        watcher.see(days("xx..."))


def test_nothing_seen_is_nothing_done() -> None:
    assert Watcher().see([]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"breaches": 4},
        {"breaches": 0},
        {"resolve_after": 0},
        {"every": timedelta(0)},
        {"repeat_after": -DAY},
        {"labels": {"team": 3}},
    ],
)
def test_rules_that_can_never_open_or_end_or_be_silenced_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="alert rule 'churn'"):
        replace(RULE, **change)  # type: ignore[arg-type]


def test_one_subject_at_a_time() -> None:
    with pytest.raises(InvalidInput, match="2 subjects"):
        Watcher().see([*days("x", subject="a"), *days("x", subject="b")])
