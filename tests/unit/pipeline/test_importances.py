from __future__ import annotations

import numpy as np
import pandas as pd  # noqa: TID253 - what a model is given
import pytest

from millrace.pipeline.importances import importances
from millrace.statistics.metrics import Floats

ROWS = 4000
RNG = np.random.default_rng(1)
FRAME = pd.DataFrame(
    {"strong": RNG.normal(size=ROWS), "weak": RNG.normal(size=ROWS), "none": RNG.normal(size=ROWS), "region": "north"}
)


def scored(frame: pd.DataFrame) -> Floats:
    return np.asarray(1 / (1 + np.exp(-(2.0 * frame["strong"] + 0.5 * frame["weak"]))), dtype=np.float64)


LABELS = (RNG.random(ROWS) < scored(FRAME)).astype(np.int64)


def test_features_share_what_the_model_relies_on() -> None:
    found = importances(scored, FRAME, LABELS, seed=3)
    assert list(found) == ["strong", "weak", "none", "region"]
    assert sum(found.values()) == pytest.approx(1.0)
    assert (found["none"], found["region"]) == (0.0, 0.0)
    # Shuffling x adds w^2 Var(x) to the mean log-loss of a logit w x, before saturation: 16 to 1, less for the strong one.
    assert 5 < found["strong"] / found["weak"] < 16


def test_the_same_seed_gives_the_same_shares_and_leaves_the_rows_alone() -> None:
    before = FRAME.copy()
    assert importances(scored, FRAME, LABELS, seed=3) == importances(scored, FRAME, LABELS, seed=3)
    pd.testing.assert_frame_equal(FRAME, before)


def test_a_model_that_uses_nothing_has_no_importances() -> None:
    assert importances(lambda frame: np.full(len(frame), 0.5), FRAME, LABELS, seed=3) == {}


def test_categories_stay_categories() -> None:
    frame = FRAME.assign(region=pd.Categorical(RNG.choice(["a", "b"], ROWS)))
    kinds = set()

    def watched(rows: pd.DataFrame) -> Floats:
        kinds.add(str(rows["region"].dtype))
        return scored(rows)

    importances(watched, frame, LABELS, seed=3)
    assert kinds == {"category"}
