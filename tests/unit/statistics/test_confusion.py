"""Figures of confusion matrices against scikit-learn, their intervals against bootstraps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.statistics.confusion import ConfusionFigures, confusion_figures

_MATRICES = st.integers(1, 4).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 9), min_size=k, max_size=k), min_size=k, max_size=k)
)


@given(_MATRICES.filter(lambda rows: any(map(any, rows))))
@settings(max_examples=30, deadline=None)
def test_figures_are_scikit_learns(matrix: list[list[int]]) -> None:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    pairs = [(said, true) for said, row in enumerate(matrix) for true, n in enumerate(row) for _ in range(n)]
    said, true = zip(*pairs, strict=True)
    found = confusion_figures(matrix)
    assert found.accuracy.value == pytest.approx(accuracy_score(true, said))
    for average in (None, "macro", "weighted"):
        theirs = precision_recall_fscore_support(
            true, said, labels=range(len(matrix)), average=average, zero_division=0
        )
        for name, expected in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
            ours = getattr(found, name)
            if average is None:
                assert [one.value if one else 0.0 for one in ours.one_vs_all] == pytest.approx(list(expected))
            else:
                assert getattr(ours, average).value == pytest.approx(expected)


def test_errors_of_means_over_classes_are_a_bootstraps() -> None:
    matrix = np.array([[70, 12, 5], [9, 40, 6], [3, 8, 30]])
    rng, found = np.random.default_rng(1), confusion_figures(matrix)
    draws = rng.multinomial(matrix.sum(), matrix.ravel() / matrix.sum(), size=1500).reshape(-1, 3, 3)
    resampled = [confusion_figures(draw) for draw in draws]
    for name in ("precision", "recall", "f1"):
        for average in ("macro", "weighted"):

            def value(of: ConfusionFigures, name: str = name, average: str = average) -> float:
                return float(getattr(getattr(of, name), average).value)

            spread = np.std([value(one) for one in resampled])
            ours = getattr(getattr(found, name), average)
            assert ours.error == pytest.approx(spread, rel=0.08)
            assert (ours.low, ours.high) == pytest.approx(
                (ours.value - 1.96 * ours.error, ours.value + 1.96 * ours.error), abs=1e-4
            )
    f1s = [one.f1.one_vs_all[0].value for one in resampled]
    assert (found.f1.one_vs_all[0].low, found.f1.one_vs_all[0].high) == pytest.approx(
        np.quantile(f1s, (0.025, 0.975)), abs=0.02
    )


def test_without_rows_nothing_is_defined() -> None:
    found = confusion_figures([[0, 0], [0, 0]])
    assert not any((found.accuracy, found.f1.macro, found.recall.weighted, *found.precision.one_vs_all))
