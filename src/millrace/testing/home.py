"""What every event log, and every home's settings and clock, must do."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from millrace.core.events import Event, EventLog
from millrace.core.principal import Principal
from millrace.database.clock import HomeClock
from millrace.database.settings import HomeSettings
from millrace.testing.race import race

_T = datetime(2025, 3, 1, 6, 0, 0, 1, tzinfo=UTC)
_APPENDERS, _EACH = 3, 12
_PATIENCE_S = 300.0


def event(kind: str = "alias.moved", subject: str = "ml.models.churn", **data: object) -> Event:
    """An event by somebody whose name has a colon."""
    return Event(kind, subject, _T, Principal("user", "ada:lovelace"), data)


class EventLogSuite:
    """Tests of an `EventLog`; give the fixture `opened`."""

    def test_an_event_reads_back_with_its_cursor(self, opened: Callable[[], EventLog]) -> None:
        written = event(version="3", share=1.0, more={"é": [None, True]})
        cursor = opened().append(written)
        (found,) = opened().read()
        assert found == Event(written.kind, written.subject, written.at, written.by, written.data, cursor)
        assert cursor > 0

    def test_events_are_read_in_order_after_a_cursor(self, opened: Callable[[], EventLog]) -> None:
        log = opened()
        cursors = [log.append(event(number=number)) for number in range(5)]
        assert cursors == sorted(set(cursors))
        assert [found.cursor for found in log.read(after=cursors[1])] == cursors[2:]
        assert [found.cursor for found in log.read(after=cursors[1], limit=2)] == cursors[2:4]
        assert list(log.read(after=cursors[-1])) == []

    def test_kind_and_subject_match_exactly(self, opened: Callable[[], EventLog]) -> None:
        log = opened()
        log.append(event("run.finished", "churn"))
        log.append(event("run.finished", "churn2"))
        log.append(event("run.started", "churn"))
        assert [found.subject for found in log.read(kind="run.finished")] == ["churn", "churn2"]
        assert [found.kind for found in log.read(subject="churn")] == ["run.finished", "run.started"]
        assert len(log.read(kind="run.finished", subject="churn")) == 1
        assert list(log.read(kind="run.%")) == []

    def test_a_reader_that_follows_the_cursor_sees_every_event_of_all_appenders(
        self, opened: Callable[[], EventLog]
    ) -> None:
        opened()
        expected = {(number, step) for number in range(1, _APPENDERS + 1) for step in range(_EACH)}
        seen: list[Event] = []

        def follow() -> None:
            log, until = opened(), time.monotonic() + _PATIENCE_S
            while len(seen) < len(expected) and time.monotonic() < until:
                seen.extend(log.read(after=seen[-1].cursor if seen else 0, limit=4))

        def work(number: int) -> None:
            if number == 0:
                return follow()
            log = opened()
            for step in range(_EACH):
                log.append(event(number=number, step=step))
            return None

        race(_APPENDERS + 1, work)
        assert {(found.data["number"], found.data["step"]) for found in seen} == expected
        assert len(seen) == len(expected)


class HomeSettingsSuite:
    """Tests of `HomeSettings`; give the fixture `opened`."""

    @pytest.mark.parametrize("value", [1, 1.0, 0, False, "", "1", [], {"a": [1, None]}, 2**53 + 1, -(2**63)])
    def test_a_value_reads_back_as_it_was_written(self, opened: Callable[[], HomeSettings], value: object) -> None:
        opened().set("key", value)
        found = opened().get("key")
        assert found == value
        assert type(found) is type(value)

    def test_the_last_value_wins_and_none_removes_it(self, opened: Callable[[], HomeSettings]) -> None:
        settings = opened()
        assert settings.get("key") is None
        settings.set("key", 1)
        settings.set("key", 2)
        settings.set("other", 3)
        assert opened().get("key") == 2
        settings.set("key", None)
        settings.set("key", None)
        assert opened().get("key") is None
        assert opened().get("other") == 3

    def test_setting_one_key_at_once_leaves_one_of_the_values(self, opened: Callable[[], HomeSettings]) -> None:
        opened()
        race(4, lambda number: opened().set("key", number))
        assert opened().get("key") in range(4)


class HomeClockSuite:
    """Tests of `HomeClock`; give the fixture `opened`, which opens the settings it lives in."""

    def test_a_new_home_lives_in_real_time(self, opened: Callable[[], HomeSettings]) -> None:
        clock = HomeClock(opened())
        before = datetime.now(UTC)
        assert not clock.is_virtual
        assert before <= clock.now() <= datetime.now(UTC)

    def test_virtual_time_stands_still_and_is_shared(self, opened: Callable[[], HomeSettings]) -> None:
        mine = HomeClock(opened())
        mine.set(_T)
        others = HomeClock(opened())
        assert others.is_virtual
        assert others.now() == _T
        mine.set(_T + timedelta(days=1))
        assert others.now() == mine.now() == _T + timedelta(days=1)
        others.set(_T - timedelta(days=400))
        assert mine.now() == _T - timedelta(days=400)
