from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.pipeline.declare import Label, Split
from millrace.pipeline.split import Windows, find_windows, take

DAY = timedelta(days=1)
T0 = datetime(2025, 1, 6, tzinfo=UTC)


def label(known_after: timedelta) -> Label:
    return Label("ml.labels.churn", "churned", ("id",), "at", known_after)


def column(times: list[datetime | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(times, pa.timestamp("us", "UTC"))])


def test_windows_count_back_from_the_newest_known_label() -> None:
    weekly = [T0 + 7 * n * DAY for n in range(40)]
    found = find_windows(
        column([*weekly, None]), label(90 * DAY), Split(holdout=28 * DAY, train=56 * DAY), T0 + 280 * DAY
    )
    # Known by day 280: labels up to day 190, so the newest is that of day 189. The four newest weeks are the holdout.
    assert found == Windows(T0 + 22 * DAY, T0 + 78 * DAY, T0 + 168 * DAY, T0 + 189 * DAY)
    assert str(found) == "training 2025-01-28 to 2025-03-25, holdout 2025-06-23 to 2025-07-14"


def test_without_a_length_training_goes_back_to_the_first_label() -> None:
    found = find_windows(column([T0, T0 + 30 * DAY]), label(DAY), Split(holdout=7 * DAY), T0 + 40 * DAY)
    assert found.train_from is None
    assert str(found).startswith("training the first label to 2025-02-04")


def test_no_known_label_is_said_with_when_labels_are_known() -> None:
    with pytest.raises(InvalidInput, match=r"no label of ml.labels.churn is known at 2025-01-07") as refused:
        find_windows(column([T0]), label(90 * DAY), Split(), T0 + DAY)
    assert "90 days" in refused.value.hint


@given(
    offsets=st.lists(st.integers(0, 400 * 86_400_000_000), min_size=1, max_size=60),
    known_after=st.integers(0, 100 * 86_400_000_000),
    holdout=st.integers(1, 100 * 86_400_000_000),
    as_of=st.integers(0, 500 * 86_400_000_000),
)
@settings(max_examples=150, deadline=None)
def test_training_labels_are_known_before_the_holdout_starts(
    offsets: list[int], known_after: int, holdout: int, as_of: int
) -> None:
    times = [T0 + timedelta(microseconds=us) for us in offsets]
    now, delay = T0 + timedelta(microseconds=as_of), timedelta(microseconds=known_after)
    known = [time for time in times if time + delay <= now]
    assume(known)
    found = find_windows(column(list(times)), label(delay), Split(timedelta(microseconds=holdout)), now)
    rows = pa.table({"at": column(list(times))})
    train = take(rows, "at", found.train_from, found.train_to).column("at").to_pylist()
    judged = take(rows, "at", found.holdout_from, found.holdout_to).column("at").to_pylist()
    assert sorted(judged) == sorted(t for t in known if t > max(known) - timedelta(microseconds=holdout))
    assert all(time + delay <= min(judged) for time in train)
    assert all(time < min(judged) for time in train)
    assert all(time + delay <= now for time in judged)
    # And none that could train is left out.
    assert len(train) == sum(time + delay <= min(judged) and time < min(judged) for time in times)
