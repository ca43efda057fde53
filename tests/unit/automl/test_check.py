"""What can't be meant is refused before any time is spent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest

import millrace as mr
from millrace.automl.ask import Wish, ask
from millrace.automl.check import check_options
from millrace.automl.read import Given
from millrace.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        ({"minutes": 0.0}, "0.0 minutes are no time", "over 0"),
        ({"minutes": float("nan")}, "nan minutes are no time", "over 0"),
        ({"latency": "lowest"}, "latency: there is no 'lowest'", "did you mean 'low'?"),
        ({"max_trials": 0}, "max_trials is 0", "at least 1"),
        ({"exclude_frameworks": ("xgbost",)}, "exclude_frameworks: there is no 'xgbost'", "did you mean 'xgboost'?"),
        ({"exclude_frameworks": ("sklearn", "lightgbm", "xgboost")}, "all frameworks are excluded", "leave one"),
    ],
)
def test_options(changed: dict[str, Any], message: str, hint: str) -> None:
    asked: dict[str, Any] = {"minutes": 1.0, "latency": "normal", "max_trials": None, "exclude_frameworks": ()}
    with pytest.raises(InvalidInput, match=message) as refused:
        check_options(**asked | changed)
    assert hint in refused.value.hint
    with pytest.raises(InvalidInput, match=message):
        mr.AutoML(**changed)


def test_a_candidate_without_such_a_metric() -> None:
    with pytest.raises(InvalidInput, match="'logloss' is not a metric"):
        mr.AutoML(metric="logloss")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"folds": 1}, "folds is 1"),
        ({"folds": 0}, "folds is 0"),
        ({"imputers": {"y": "mean", "spent": "mean"}}, "imputers: there is no 'spent'"),
        ({"imputers": {"spend": "modal"}}, "imputers: there is no 'modal'"),
    ],
)
def test_what_is_asked_of_columns_and_folds(changed: dict[str, Any], message: str) -> None:
    frame = pd.DataFrame({"spend": np.arange(40.0), "y": [0, 1] * 20})
    given = Given(frame, {name: str(kind) for name, kind in frame.dtypes.items()}, "frame")
    with pytest.raises(InvalidInput, match=message):
        ask(given, Wish("classification", "y", **changed))
