from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import NotFound
from millrace.features.freshness import Freshness, table_freshness
from millrace.features.tables import create_feature_table, update_feature_table, write_feature_rows
from millrace.lake.lake import Lake

DAY = timedelta(days=1)
NAME = "ml.features.t"
STAMP = pa.timestamp("us", "UTC")


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2025, 1, day, hour, tzinfo=UTC)


def rows(*times: Any, kind: pa.DataType = STAMP) -> pa.Table:
    return pa.table({"k": pa.array(range(len(times)), pa.int64()), "ts": pa.array(times, kind)})


def make(lake: Lake, table: pa.Table, **rules: Any) -> None:
    arguments: dict[str, Any] = {"primary_keys": "k", "timeseries_column": "ts", "freshness": DAY} | rules
    create_feature_table(lake, NAME, table.schema, rows=table, **arguments)


@pytest.mark.parametrize(("now", "verdict"), [(at(6), "fresh"), (at(6) + timedelta(microseconds=1), "late")])
def test_an_age_of_exactly_what_is_expected_is_fresh(
    lake: Lake, clock: ManualClock, now: datetime, verdict: str
) -> None:
    make(lake, rows(at(1), at(5), at(3)))
    clock.set(now)
    assert table_freshness(lake, NAME) == Freshness(at(5), now - at(5), DAY, verdict)  # type: ignore[arg-type]


def test_a_row_that_can_not_be_seen_yet_makes_nothing_fresh(lake: Lake) -> None:
    make(lake, rows(at(1), at(5), at(20)), available_after=2 * DAY)
    assert table_freshness(lake, NAME, at(7)).newest == at(5)
    assert table_freshness(lake, NAME, at(7) - timedelta(microseconds=1)).newest == at(1)


@pytest.mark.parametrize(("stands_for", "newest"), [("end", at(6)), ("start", at(5))])
def test_a_date_counts_as_it_does_in_a_lookup(lake: Lake, stands_for: Any, newest: datetime) -> None:
    make(
        lake, rows(date(2025, 1, 5), date(2025, 1, 4), date(2025, 1, 30), kind=pa.date32()), date_stands_for=stands_for
    )
    assert table_freshness(lake, NAME, at(6, 12)).newest == newest


@pytest.mark.parametrize("years", [0, 1, 30])
def test_an_old_table_is_late_however_old(lake: Lake, years: int) -> None:
    make(lake, rows(at(1) - 366 * years * DAY))
    found = table_freshness(lake, NAME, at(4))
    assert (found.age, found.verdict) == ((3 + 366 * years) * DAY, "late")


def test_a_table_without_rows_is_late_and_one_without_an_expectation_unknown(lake: Lake) -> None:
    make(lake, rows())
    assert table_freshness(lake, NAME, at(2)) == Freshness(None, None, DAY, "late")
    lake.drop(NAME)
    make(lake, rows(at(1)), freshness=None)
    assert table_freshness(lake, NAME, at(2)) == Freshness(at(1), DAY, None, "unknown")
    assert update_feature_table(lake, NAME, freshness=2 * DAY).definition.freshness == 2 * DAY
    assert table_freshness(lake, NAME, at(2)).verdict == "fresh"


def test_a_table_without_time_is_as_old_as_its_last_write(lake: Lake, clock: ManualClock) -> None:
    clock.set(at(1))
    make(lake, rows(at(30)), timeseries_column=None)
    clock.set(at(3))
    write_feature_rows(lake, NAME, rows(at(30), at(30)))
    assert table_freshness(lake, NAME, at(5)) == Freshness(at(3), 2 * DAY, DAY, "late")
    with pytest.raises(NotFound):
        table_freshness(lake, "ml.features.other")
