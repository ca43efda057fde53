from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.alerts.quiet import parse_quiet, quiet_now
from millrace.alerts.suppress import holds, labels_of, parse_matcher, why_untold
from millrace.alerts.types import AlertRule, Episode, EpisodeId, Inhibition, KeptRule, Mute, Silence
from millrace.core.errors import InvalidInput
from tests.unit.alerts.desk import DAY, START

RULE = AlertRule("churn", labels={"team": "risk"})
KEPT = KeptRule(RULE, "user:ada", START, START)


def episode(kind: str = "drift", subject: str = "churn v1", number: int = 1) -> Episode:
    return Episode(EpisodeId(number), "churn", subject, "open", START, START, START, None, "moved", {}, kind, "opened")


def silence(*matchers: str, begin: datetime = START, end: datetime = START + DAY) -> Silence:
    return Silence(3, tuple(map(parse_matcher, matchers)), begin, end, "deploy", "user:ada", START)


@pytest.mark.parametrize(
    ("matcher", "matches"),
    [
        ("team=risk", True),
        ("team=ris", False),
        ("team!=risk", False),
        ("team!=ops", True),
        ("team=~ri.*", True),
        ("team=~ri", False),
        ("team!~ri", True),
        ("absent=", True),
        ("absent!=x", True),
        ("absent=~.+", False),
        ("kind=drift", True),
        ("rule=churn", True),
        ("subject=~'?churn v.*", True),
        ("severity=warning", True),
        (" team = risk", False),
    ],
)
def test_matchers_hold_for_whole_values(matcher: str, *, matches: bool) -> None:
    assert holds([parse_matcher(matcher)], labels_of(RULE, episode())) is matches


def test_all_matchers_must_hold() -> None:
    assert not holds([parse_matcher("team=risk"), parse_matcher("kind=quality")], labels_of(RULE, episode()))


@pytest.mark.parametrize("text", ["team", "=risk", "", "team=~(", "a b=c"])
def test_what_matches_no_label_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_matcher(text)
    assert caught.value.hint


def test_a_silence_is_in_force_from_its_start_to_its_end() -> None:
    quiet = silence("team=risk")
    times = [START - timedelta(seconds=1), START, START + DAY - timedelta(seconds=1), START + DAY]
    why = [why_untold(KEPT, episode(), [quiet], [], now) for now in times]
    told = "silence 3 until 2025-03-02T00:00:00Z by user:ada: deploy"
    assert why == [None, told, told, None]
    assert why_untold(KEPT, episode(), [silence("team=ops")], [], START) is None


def test_a_muted_rule_tells_nothing() -> None:
    muted = replace(KEPT, mute=Mute(START, "user:ada", START + DAY, "noise"))
    assert why_untold(muted, episode(), [], [], START) == (
        "the rule is muted until 2025-03-02T00:00:00Z by user:ada: noise"
    )
    assert why_untold(muted, episode(), [], [], START + DAY) is None
    forever = replace(KEPT, mute=Mute(START, "user:ada"))
    assert why_untold(forever, episode(), [], [], START + 1000 * DAY) == "the rule is muted by user:ada"


@pytest.mark.parametrize(
    ("cause", "hidden"),
    [
        ("quality", {"drift", "estimate"}),
        ("volume", {"drift", "estimate"}),
        ("performance", {"drift", "estimate"}),
        ("drift", set()),
        ("estimate", set()),
        ("error", set()),
    ],
)
def test_greater_trouble_hides_smaller(cause: str, hidden: set[str]) -> None:
    kinds = ("drift", "quality", "volume", "performance", "estimate")
    open_one = episode(cause, number=9)
    found = {kind for kind in kinds if why_untold(KEPT, episode(kind), [], [open_one], START)}
    assert found == hidden


def test_trouble_elsewhere_and_its_own_hide_nothing() -> None:
    drift = episode()
    assert why_untold(KEPT, drift, [], [drift, episode("quality", "spend v1", 9)], START) is None
    why = why_untold(KEPT, drift, [], [episode("quality", number=9)], START)
    assert why == "quality episode 9 about the same subject is open, which may be its cause"
    mutual = replace(KEPT, rule=replace(RULE, inhibitions=(Inhibition(("drift",), ("drift",)),)))
    assert why_untold(mutual, drift, [], [drift], START) is None
    none = replace(KEPT, rule=replace(RULE, inhibitions=()))
    assert why_untold(none, drift, [], [episode("quality", number=9)], START) is None


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "quiet", "loud"),
    [
        # 2025-03-01 is a Saturday.
        ("22:00-06:00", ["2025-03-01T22:00", "2025-03-02T05:59"], ["2025-03-01T21:59", "2025-03-02T06:00"]),
        ("12:00-13:30", ["2025-03-01T12:00", "2025-03-01T13:29"], ["2025-03-01T11:59", "2025-03-01T13:30"]),
        ("Sat-Sun", ["2025-03-01T00:00", "2025-03-02T23:59"], ["2025-02-28T23:59", "2025-03-03T00:00"]),
        ("Sat,Mon", ["2025-03-01T10:00", "2025-03-03T10:00"], ["2025-03-02T10:00"]),
        ("Fri-Mon", ["2025-02-28T10:00", "2025-03-03T10:00"], ["2025-03-04T10:00", "2025-02-27T10:00"]),
        # Starts on Friday only, and ends on Saturday morning.
        ("Fri 22:00-06:00", ["2025-02-28T23:00", "2025-03-01T05:00"], ["2025-03-01T23:00", "2025-02-28T05:00"]),
        ("20:00-24:00", ["2025-03-01T23:59"], ["2025-03-02T00:00", "2025-03-01T19:59"]),
        # One hour before UTC in winter, two in summer.
        (
            "22:00-06:00 Europe/Berlin",
            ["2025-03-01T21:00", "2025-07-01T03:59"],
            ["2025-03-01T20:59", "2025-07-01T04:00"],
        ),
    ],
)
def test_stretches_of_the_week(text: str, quiet: list[str], loud: list[str]) -> None:
    assert [parse_quiet(text).holds(at(moment)) for moment in quiet] == [True] * len(quiet)
    assert [parse_quiet(text).holds(at(moment)) for moment in loud] == [False] * len(loud)
    kept = replace(KEPT, rule=replace(RULE, quiet=("12:00-12:01", text)))
    assert why_untold(kept, episode(), [], [], at(quiet[0])) in {
        f"it is quiet time ({text})",
        "it is quiet time (12:00-12:01)",
    }


@given(st.datetimes(datetime(2025, 1, 1), datetime(2026, 1, 1)), st.integers(0, 23), st.integers(0, 23))  # noqa: DTZ001
def test_a_stretch_and_its_rest_are_the_day(moment: datetime, one: int, other: int) -> None:
    now = moment.replace(tzinfo=UTC)
    if one != other:
        there = quiet_now([f"{one}:00-{other}:00"], now) is not None
        assert there != (quiet_now([f"{other}:00-{one}:00"], now) is not None)


@pytest.mark.parametrize("text", ["", "night", "22-06", "25:00-06:00", "Foo-Bar", "22:00-06:00 Mars/Olympus", "UTC"])
def test_what_is_no_stretch_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a stretch of the week"):
        parse_quiet(text)
