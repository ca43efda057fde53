from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millrace as mr
from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.pipeline.backtest.plan import first_training, prepare, result_key
from millrace.pipeline.backtest.types import Ask, Policy
from millrace.pipeline.split import find_windows, take
from millrace.workspace import Workspace
from tests.unit.pipeline.backtest.scenes import NEVER, START, ask, at
from tests.unit.pipeline.backtest.scenes import declared as with_labels
from tests.unit.pipeline.conftest import NOW, Fill
from tests.unit.pipeline.shop import DAY, PURCHASES, declared, purchases

PAST = Ask(NOW - 60 * DAY, NOW - 10 * DAY, 7 * DAY, (NEVER,))


@pytest.fixture
def shop(workspace: Workspace, fill: Fill) -> Workspace:
    fill(PURCHASES, purchases([(1, NOW - 80 * DAY, 5.0)]))
    return workspace


def test_the_dates_are_of_a_grid_from_the_first() -> None:
    assert ask(3).dates == (at(0), at(1), at(2), at(3))
    assert Ask(START, START + 10 * DAY, 7 * DAY, (NEVER,)).dates == (at(0), at(1))


def test_the_id_is_of_what_is_read_and_the_key_of_what_is_asked(shop: Workspace, fill: Fill) -> None:
    pipeline, drift = declared(), Policy("drift", mr.Retrain(on=("drift",)))
    before = prepare(shop, pipeline, PAST)
    other = Ask(PAST.start, PAST.end, PAST.step, (NEVER, drift))
    assert prepare(shop, pipeline, other).id == before.id
    assert result_key(pipeline, other) != result_key(pipeline, PAST)
    assert prepare(shop, declared(seed=1), PAST).id != before.id
    fill(PURCHASES, purchases([(2, NOW - 70 * DAY, 5.0)]))
    assert prepare(shop, pipeline, PAST).id != before.id


def test_the_pipelines_own_tables_are_not_read_but_made_anew(shop: Workspace) -> None:
    assert [str(name) for name in prepare(shop, declared(), PAST).versions] == [PURCHASES]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Ask(PAST.end, PAST.start, PAST.step, (NEVER,)), "before it begins"),
        (Ask(PAST.start, NOW + DAY, PAST.step, (NEVER,)), "has not come"),
        (Ask(PAST.start, PAST.end, timedelta(0), (NEVER,)), "makes no backtest"),
        (Ask(PAST.start, PAST.end, PAST.step, ()), "needs policies"),
        (Ask(PAST.start, PAST.end, PAST.step, (NEVER, NEVER)), "each once"),
    ],
)
def test_what_can_not_be_replayed_is_refused(shop: Workspace, wrong: Ask, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        prepare(shop, declared(), wrong)


def _can_train(times: list[datetime], pipeline: mr.Pipeline, date: datetime) -> bool:
    """Whether a training as of a date has rows on both sides, by the split that production makes."""
    rows = pa.table({"at": pa.array(times, pa.timestamp("us", "UTC"))})
    try:
        windows = find_windows(rows.column("at"), pipeline.labels, pipeline.split, date)
    except InvalidInput:
        return False
    return bool(take(rows, "at", windows.train_from, windows.train_to).num_rows)


@settings(max_examples=25, deadline=None)
@given(days=st.lists(st.integers(0, 80), min_size=1, max_size=12, unique=True), holdout=st.integers(1, 30))
def test_the_first_training_is_the_first_date_that_the_split_allows(days: list[int], holdout: int) -> None:
    pipeline = with_labels(split=mr.Split(holdout=timedelta(days=holdout)))
    times = sorted(START + day * DAY for day in days)
    expected = next((START + n * DAY for n in range(140) if _can_train(times, pipeline, START + n * DAY)), None)
    assert first_training([epoch_us(time) for time in times], pipeline.labels, pipeline.split) == expected
