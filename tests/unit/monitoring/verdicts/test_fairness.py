"""Fairness figures against shares counted by hand, and their intervals against Newcombe's published case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.monitoring.reference.answers import AnswerLayout, Answers
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers
from millrace.monitoring.verdicts.fairness import MEASURES, Difference, fairness, fairness_columns
from millrace.statistics.intervals import proportion

BINARY = AnswerLayout("binary", ("0", "1"))


def answers(pairs: Sequence[tuple[int, int | None]], layout: AnswerLayout = BINARY) -> Answers:
    """Counted (prediction, label) rows."""
    columns = AnswerColumns(pa.array([true for _, true in pairs], pa.int64()), pa.array([said for said, _ in pairs]))
    return count_answers(layout, columns, np.zeros(len(pairs), dtype=np.int64), 1)[0]


YOUNG = answers([(1, 1)] * 6 + [(1, 0)] * 2 + [(0, 1)] * 4 + [(0, 0)] * 8 + [(1, None)] * 5)
OLD = answers([(1, 1)] * 30 + [(1, 0)] * 2 + [(0, 1)] * 10 + [(0, 0)] * 18)


def test_figures_are_differences_of_shares_protected_less_others() -> None:
    found = {measure: by_class["1"].value for measure, by_class in fairness(YOUNG, OLD).items()}
    assert found == {
        "statistical_parity": pytest.approx(13 / 25 - 32 / 60),
        "equal_opportunity": pytest.approx(6 / 10 - 30 / 40),
        "predictive_parity": pytest.approx(6 / 8 - 30 / 32),
        "predictive_equality": pytest.approx(2 / 10 - 2 / 20),
    }
    assert fairness(YOUNG, OLD)["equal_opportunity"]["0"].value == pytest.approx(8 / 10 - 18 / 20)
    assert fairness_columns(YOUNG, OLD)["predictive_equality"] == [
        ("0", pytest.approx(0.15)),
        ("1", pytest.approx(0.1)),
    ]


def test_who_is_protected_only_turns_the_sign() -> None:
    one, other = fairness(YOUNG, OLD), fairness(OLD, YOUNG)
    for measure in MEASURES:
        for name in ("0", "1"):
            a, b = one[measure][name], other[measure][name]
            assert (a.value, a.low, a.high) == pytest.approx((-b.value, -b.high, -b.low))
            assert a.low <= a.value <= a.high


def test_the_interval_is_newcombes() -> None:
    """Newcombe 1998, table II, method 10: 56/70 less 48/80 has 0.0524 to 0.3339, 9/10 less 3/10 has 0.1705 to 0.8090."""
    for (a, m), (b, n), expected in (((56, 70), (48, 80), (0.0524, 0.3339)), ((9, 10), (3, 10), (0.1705, 0.8090))):
        found = Difference.of(proportion(a, m), proportion(b, n))
        assert (found.low, found.high) == pytest.approx(expected, abs=6e-5)


def test_what_a_group_has_not_is_not_a_figure() -> None:
    unlabelled: Any = answers([(1, None), (0, None)])
    found = fairness(unlabelled, OLD)
    assert math.isnan(found["equal_opportunity"]["1"].value)
    assert found["statistical_parity"]["1"].value == pytest.approx(1 / 2 - 32 / 60)
    assert fairness_columns(unlabelled, OLD)["predictive_parity"] is None
    assert fairness_columns(Answers("binary"), OLD)["statistical_parity"] is None
    assert fairness(Answers("regression"), Answers("regression")) == {}
