from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.volume import judge_volume

SPEC = MonitorSpec("logs.p", "metrics")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def volume_of(rows: Sequence[int], until: datetime | None = None) -> list[WindowVerdict]:
    windows = [WindowCounts(at, count) for at, count in enumerate(rows) if count]
    return list(judge_volume(SPEC, "1", windows, until=until))


def test_days_as_they_were_are_ok_once_a_fortnight_is_known() -> None:
    statuses = [one.status for one in volume_of([1000] * 20)]
    assert statuses == ["insufficient_data"] * 15 + ["ok"] * 5  # the first day is seldom whole


@pytest.mark.parametrize(
    ("rows", "status", "severity"),
    [
        (1000, "ok", "warning"),
        (520, "ok", "warning"),
        (300, "broken", "warning"),
        (50, "broken", "critical"),
        (2500, "broken", "warning"),
        (20_000, "broken", "critical"),
    ],
)
def test_far_fewer_or_far_more_rows_are_broken(rows: int, status: str, severity: str) -> None:
    last = volume_of([1000] * 30 + [rows])[-1]
    assert (last.status, last.severity) == (status, severity)
    assert last.reason == f"{rows:,} rows in 1 day, 1,000 are usual"
    assert last.figures["expected"] == 1000


def test_a_day_without_rows_is_a_verdict_of_its_own() -> None:
    verdicts = volume_of([1000] * 30 + [0, 0, 1000])
    assert [(one.start.day, one.status) for one in verdicts[-3:]] == [(31, "broken"), (1, "broken"), (2, "ok")]
    assert verdicts[-3].reason == "no rows in 1 day, 1,000 are usual"


def test_a_log_that_ended_is_stale_up_to_now_and_an_unfinished_day_is_not_judged() -> None:
    verdicts = volume_of([1000] * 30, until=EPOCH + timedelta(days=32, hours=5))
    assert [one.status for one in verdicts[29:]] == ["ok", "broken", "broken"]
    assert verdicts[-1].end == EPOCH + timedelta(days=32)
    assert volume_of([1000] * 30 + [7], until=EPOCH + timedelta(days=30, hours=1))[-1].status == "ok"


def test_weekends_that_are_always_quiet_are_usual() -> None:
    week = [1000, 1000, 1000, 1000, 1000, 40, 40]
    assert {one.status for one in volume_of(week * 8)[22:]} == {"ok"}
    monday = volume_of(week * 6 + [40])[-1]
    assert (monday.status, monday.figures["expected"]) == ("broken", 1000)


def test_days_that_always_differ_widely_are_usual() -> None:
    rng = np.random.default_rng(2)
    rows = np.exp(rng.normal(np.log(500), 0.8, 200)).astype(int)
    assert sum(one.status == "broken" for one in volume_of(rows.tolist())) <= 2


def test_one_row_a_day_is_too_few_to_miss() -> None:
    assert {one.status for one in volume_of([1] * 40, until=EPOCH + timedelta(days=50))} == {"insufficient_data"}


def test_nothing_is_no_verdict() -> None:
    assert volume_of([]) == []


@pytest.mark.parametrize("week", [[1000] * 7, [1000] * 5 + [0, 0]])
def test_an_outage_never_becomes_usual(week: list[int]) -> None:
    verdicts = volume_of(week * 6, until=EPOCH + timedelta(days=42 + 70))
    told = [one.status for one in verdicts[42:]]
    assert len(told) == 70
    expected = ["broken" if rows else "insufficient_data" for rows in week]
    assert told == expected * 10


def test_what_is_not_sure_is_never_critical() -> None:
    """Where every other day is empty, an empty one is nothing to be sure of."""
    last = volume_of([100, 0] * 15 + [100], EPOCH + timedelta(days=32))[-1]
    assert (last.status, last.severity) == ("ok", "warning")
    assert last.reason == "no rows in 1 day, 50 are usual"
