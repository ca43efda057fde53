from __future__ import annotations

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.automl.rows import Rows
from millrace.automl.splits import fit_weights, folds_of, plan_folds
from millrace.automl.types import SplitPlan
from millrace.core.errors import InvalidInput


def rows(target: np.ndarray, by: np.ndarray | None = None) -> Rows:
    return Rows(pd.DataFrame({"x": np.arange(len(target), dtype=float)}), target, None, by)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 30), min_size=40, max_size=120), st.integers(2, 5))
def test_in_time_no_row_is_judged_by_a_model_of_rows_as_late_as_it(times: list[int], folds: int) -> None:
    by = np.array(times)
    data = rows(np.arange(len(by), dtype=float), by)
    folds, repeats = plan_folds(data, "regression", "time", folds)
    try:
        found = folds_of(SplitPlan("time", folds, repeats, column="t"), "regression", data)
    except InvalidInput:
        assert np.median(by) == by.min()  # half of the rows have the first time: there is no before
        return
    for fit, judge in found:
        assert by[fit].max() < by[judge].min()
    judged = np.concatenate([judge for _, judge in found])
    assert len(judged) == len(set(judged.tolist()))


@settings(max_examples=25)
@given(st.lists(st.integers(0, 12), min_size=60, max_size=120))
def test_a_group_is_never_on_both_sides(groups: list[int]) -> None:
    by = np.array([*groups, 13, 14, 15])
    data = rows(np.arange(len(by), dtype=float), by)
    folds, repeats = plan_folds(data, "regression", "group", None)
    for fit, judge in folds_of(SplitPlan("group", folds, repeats, column="g"), "regression", data):
        assert not set(by[fit]) & set(by[judge])


def test_each_repeat_judges_every_row_once_and_deals_anew() -> None:
    data = rows(np.tile([0, 1], 50))
    found = folds_of(SplitPlan("stratified", 5, 2), "classification", data)
    first, second = found[:5], found[5:]
    for dealt in (first, second):
        assert sorted(np.concatenate([judge for _, judge in dealt]).tolist()) == list(range(100))
    assert first[0][1].tolist() != second[0][1].tolist()


def test_a_column_splits_as_it_says_and_test_rows_are_never_touched() -> None:
    by = np.array(["train"] * 60 + ["validate"] * 20 + ["test"] * 20)
    ((fit, judge),) = folds_of(SplitPlan("column", 1, column="s"), "classification", rows(np.tile([0, 1], 50), by))
    assert fit.tolist() == list(range(60))
    assert judge.tolist() == list(range(60, 80))


def test_rows_of_the_largest_class_that_are_left_out_of_fits_are_weighed_for_by_the_others() -> None:
    target = np.r_[np.zeros(900, dtype=int), np.ones(100, dtype=int)]
    data, plan = rows(target), SplitPlan("stratified", 5, majority_kept=0.25)
    for fit, judge in folds_of(plan, "classification", data):
        weights = fit_weights(plan, "classification", data, fit)
        assert weights is not None
        assert len(judge) == 200  # judged on all rows
        assert (target[fit] == 0).sum() == 180
        assert weights[target[fit] == 0].sum() == pytest.approx(720)
        assert weights[target[fit] == 1].sum() == 80
