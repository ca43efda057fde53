from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.jobs.job import CatchUp, ConditionTask, CronSchedule, Job, Task
from millrace.jobs.quartz import parse
from millrace.jobs.schedules import ticks
from millrace.jobs.schedules.next_fires import next_fires
from millrace.jobs.schedules.pause import pause_job, resume_job
from tests.unit.jobs.schedules.home import BEGIN, Home

_HOUR, _DAY, _SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)


def test_each_tick_is_a_run_and_the_run_knows_it() -> None:
    home = Home()
    home.put("0 0 6 * * ?")
    assert home.look() == []
    assert home.scheduler.next_due == BEGIN + _HOUR
    (run,) = home.look(BEGIN + _HOUR)
    assert (run.due, run.trigger, run.life_cycle_state) == (BEGIN + _HOUR, "PERIODIC", "QUEUED")
    assert home.look(BEGIN + 2 * _HOUR) == []
    assert home.scheduler.next_due == BEGIN + _HOUR + _DAY


def test_a_killed_scheduler_makes_no_tick_twice() -> None:
    home = Home()
    home.put("0 0 6 * * ?", catch_up="all")
    home.look()
    for _ in range(3):
        home.new_scheduler().look()
        home.look(BEGIN + _HOUR)
    assert home.dues() == ["02 06:00:00"]


def test_killed_between_the_run_and_the_mark_it_is_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home()
    home.put("0 0 * * * ?", catch_up="all")
    home.look()
    with monkeypatch.context() as patch:
        patch.setattr(home.desk.marks, "advance", _killed)
        home.look(BEGIN + 3 * _HOUR)
    assert home.dues() == ["02 06:00:00", "02 07:00:00", "02 08:00:00"]
    home.new_scheduler().look()
    assert home.dues() == ["02 06:00:00", "02 07:00:00", "02 08:00:00"]


def _killed(*_: object) -> None:
    raise RuntimeError("killed")


@pytest.mark.parametrize(
    ("catch_up", "dues"),
    [
        ("all", ["02 06:00:00", "03 06:00:00", "04 06:00:00"]),
        ("last", ["04 06:00:00"]),
        ("skip", []),
    ],
)
def test_what_was_missed_is_made_up_for_as_the_job_says(catch_up: CatchUp, dues: list[str]) -> None:
    home = Home()
    home.put("0 0 6 * * ?", catch_up=catch_up)
    home.look()
    home.new_scheduler()
    home.look(BEGIN + 3 * _DAY)
    assert home.dues() == dues
    home.look(BEGIN + 3 * _DAY + _HOUR)
    assert home.dues() == [*dues, "05 06:00:00"]


@pytest.mark.parametrize("catch_up", ["all", "last", "skip"])
def test_a_short_pause_loses_no_tick(catch_up: CatchUp) -> None:
    """What is seconds late was not missed, whatever the policy."""
    home = Home()
    home.put("0/10 * * * * ?", catch_up=catch_up)
    home.look()
    home.new_scheduler()
    home.look(BEGIN + 45 * _SECOND)
    assert home.dues() == ["02 05:00:10", "02 05:00:20", "02 05:00:30", "02 05:00:40"]


def test_last_is_found_after_years() -> None:
    home = Home()
    home.put("* * * * * ?", catch_up="last")
    home.look()
    begun = time.process_time()
    home.look(BEGIN + 700 * _DAY)
    assert time.process_time() - begun < 20
    assert len(home.all()) <= 60


def test_many_missed_ticks_come_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticks, "_MOST", 7)
    home = Home()
    home.put("0 0 * * * ?", catch_up="all")
    home.look()
    home.clock.set(BEGIN + _DAY)
    counts = []
    while made := home.new_scheduler().look():
        counts.append(len(made))
    assert counts == [7, 7, 7, 3]
    assert len(set(home.dues())) == 24


def test_a_changed_schedule_does_not_run_old_ticks() -> None:
    home = Home()
    home.put("0 0 6 * * ?", catch_up="all")
    home.look()
    home.clock.set(BEGIN + 3 * _DAY)
    home.put("0 0 4 * * ?", catch_up="all")  # while no scheduler looked
    assert home.look() == []
    home.look(BEGIN + 4 * _DAY)
    assert home.dues() == ["06 04:00:00"]


def test_another_zone_is_another_schedule() -> None:
    home = Home()
    home.put("0 0 6 * * ?", timezone="America/New_York")
    home.look()
    home.look(BEGIN + 6 * _HOUR)
    home.put("0 0 6 * * ?", timezone="Europe/Berlin")
    home.look(BEGIN + _DAY)
    assert home.dues() == ["02 11:00:00", "03 05:00:00"]


@pytest.mark.parametrize("looks", [True, False])
def test_what_passes_while_paused_is_not_made_up_for(looks: bool) -> None:  # noqa: FBT001 - a parameter of the test
    home = Home()
    home.put("0 0 6 * * ?", catch_up="all")
    home.look()
    pause_job(home.desk, "daily")
    if looks:
        assert home.look(BEGIN + _HOUR) == []
        assert home.scheduler.next_due is None
    home.clock.set(BEGIN + 5 * _DAY)
    resume_job(home.desk, "daily")
    assert home.look() == []
    home.look(BEGIN + 6 * _DAY)
    assert home.dues() == ["07 06:00:00"]
    assert resume_job(home.desk, "daily") == home.jobs.jobs.get("daily")


def test_a_removed_job_is_not_run() -> None:
    home = Home()
    home.put("0 0 6 * * ?")
    home.look()
    home.jobs.jobs.remove("daily")
    assert home.look(BEGIN + _HOUR) == []


def test_one_job_that_can_not_be_read_does_not_hold_up_the_others() -> None:
    home = Home()
    home.put("0 0 6 * * ?")
    home.jobs.jobs.put(Job("odd", [Task("only", ConditionTask("EQUAL_TO", "1", "1"))], CronSchedule("0 6 * * *")))
    home.look()
    assert [run.job for run in home.look(BEGIN + _HOUR)] == ["daily"]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["look", "kill", "two"]), st.integers(-4 * 3600, 6 * 3600)), max_size=12),
    st.sampled_from(["0 0 * * * ?", "0 30 1-3 * * ?", "0 0/20 6 * * ?"]),
)
def test_whatever_the_clock_does_each_tick_is_one_run(moves: list[tuple[str, int]], expression: str) -> None:
    home = Home()
    home.put(expression, catch_up="all", timezone="America/New_York")
    home.look()
    latest = now = BEGIN
    for what, seconds in moves:
        now += timedelta(seconds=seconds)
        latest = max(latest, now)
        if what == "kill":
            home.new_scheduler()
        home.look(now)
        if what == "two":
            home.new_scheduler().look()
    ran = Counter(run.due for run in home.all())
    assert set(ran.values()) <= {1}
    assert sorted(filter(None, ran)) == list(parse(expression, "America/New_York").between(BEGIN, latest))


@pytest.mark.parametrize(
    ("expression", "zone", "said"),
    [
        ("0 6 * * *", "UTC", "five fields"),
        ("0 0 6 31 2 ?", "UTC", "never fires"),
        ("0 0 6 1 1 ? 2025", "UTC", "never fires again"),
        ("0 0 6 * * ?", "Berlin", "no time zone"),
    ],
)
def test_a_job_with_such_a_schedule_is_not_kept(expression: str, zone: str, said: str) -> None:
    home = Home()
    with pytest.raises(InvalidInput, match=said):
        home.put(expression, timezone=zone)
    assert home.jobs.jobs.list() == []


def test_a_schedule_that_came_to_its_end_may_stay() -> None:
    home = Home()
    home.put("0 0 6 * * ? 2026")
    home.look(BEGIN + 400 * _DAY)
    home.put("0 0 6 * * ? 2026")
    assert home.look(BEGIN + 800 * _DAY) == []


def test_next_fires() -> None:
    job = Job("x", [], CronSchedule("0 0 6 1 1 ? 2027-2028"))
    assert next_fires(job, BEGIN, 5) == (datetime(2027, 1, 1, 6, tzinfo=UTC), datetime(2028, 1, 1, 6, tzinfo=UTC))
    assert next_fires(Job("x", []), BEGIN, 5) == ()
    paused = Job("x", [], CronSchedule("0 0 6 * * ?", pause_status="PAUSED"))
    assert next_fires(paused, BEGIN, 5) == ()
