"""The honest best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from millrace.core.errors import InvalidInput
from millrace.validation.choose import choose


@dataclass(frozen=True)
class Trained:
    candidate: str
    complexity: int = 2
    is_baseline: bool = False


TREES, LINE, DUMMY = Trained("xgboost"), Trained("linear", 1), Trained("dummy", 0, is_baseline=True)


def losses(trees: float, line: float, dummy: float = 0.69) -> dict[str, dict[str, float]]:
    return {"xgboost": {"log_loss": trees}, "linear": {"log_loss": line}, "dummy": {"log_loss": dummy}}


def test_the_best_wins_whatever_it_is() -> None:
    assert choose([TREES, LINE, DUMMY], losses(0.40, 0.41)) == "xgboost"
    assert choose([TREES, LINE, DUMMY], losses(0.41, 0.40)) == "linear"


def test_a_baseline_is_never_chosen_even_as_the_best() -> None:
    assert choose([DUMMY, TREES], losses(0.9, 0.9, 0.1)) == "xgboost"


def test_between_equals_the_simpler_and_then_the_first() -> None:
    assert choose([TREES, LINE], losses(0.40, 0.40 + 1e-12)) == "linear"
    assert choose([Trained("b"), Trained("a")], {"a": {"f1": 0.5}, "b": {"f1": 0.5}}, "f1") == "b"


def test_higher_is_better_where_it_is() -> None:
    metrics = {"xgboost": {"roc_auc": 0.8}, "linear": {"roc_auc": 0.9}}
    assert choose([TREES, LINE], metrics, "roc_auc") == "linear"


def test_an_undefined_metric_loses() -> None:
    assert choose([LINE, TREES], losses(0.9, math.nan)) == "xgboost"
    assert choose([TREES, LINE], losses(math.nan, math.nan)) == "linear"


def test_what_can_not_be_chosen_from() -> None:
    with pytest.raises(InvalidInput, match="besides baselines"):
        choose([DUMMY], losses(1, 1))
    with pytest.raises(InvalidInput, match="'linear' has no f1"):
        choose([LINE], losses(1, 1), "f1")
    with pytest.raises(InvalidInput, match="is not a metric"):
        choose([LINE], losses(1, 1), "loss")
