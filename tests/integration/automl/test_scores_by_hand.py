"""The notebook of a trial gives its score again, however rows are split, weighed, thinned, and whatever is predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from millrace.automl.ask import Asked, Wish, ask
from millrace.automl.kept_rows import with_rows_kept
from millrace.automl.notebooks import trial_notebook
from millrace.automl.read import Given
from millrace.automl.space import space_of
from millrace.automl.types import Family, Search, Trial
from millrace.automl.workers.fit import FitTask, Fitter
from tests.integration.automl.ran_notebooks import names_after

pytestmark = [pytest.mark.slow, pytest.mark.openmp]


def frame(rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(6)
    made = pd.DataFrame({"amount": rng.normal(size=rows), "orders": rng.integers(0, 9, rows)})
    made["region"] = rng.choice(np.array(["north", "south", None], dtype=object), rows)
    made["shop"] = rng.integers(0, 40, rows)
    made["street"] = [f"street {number}" for number in rng.integers(0, 40, rows)]
    made["at"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 5000, rows), "h")
    made["day"] = [f"2024-{month:02d}-{day:02d}" for month, day in rng.integers(1, 28, (rows, 2)) % 12 + 1]
    made["part"] = rng.choice(["train", "validate", "test", "other"], rows, p=[0.6, 0.2, 0.1, 0.1])
    made["weight"] = rng.uniform(0, 3, rows).round(2)
    made.loc[::11, "amount"] = np.nan
    signal = made.orders + rng.normal(size=rows)
    return made.assign(
        lost=np.where(signal > 4, "yes", "no"),
        flag=pd.Series([None if 3 < value <= 4 else bool(value > 4) for value in signal], dtype=object),
        level=np.minimum(signal.clip(0).astype(int), 7),
        spend=signal * 10,
        rare=(made.orders + 4 * rng.normal(size=rows) > 18).astype(int),
    )


def judged(found: Asked, family: Family, folder: Path) -> Trial:
    """A trial of the family's defaults, as a worker judges it."""
    space, problem = space_of(family), found.job.problem
    estimator, params = space.estimator(problem), space.params(space.default, problem, 0)
    fitter, prepared = Fitter(found.job), found.preparations[space.scale]
    with threadpool_limits(limits=1):
        results = [
            fitter.run(FitTask(1, fold, estimator, params, prepared, str(folder / "model")))
            for fold in range(found.job.plan.total)
        ]
    scores = {result.fold: result.score for result in results if result.fold is not None}
    mean = float(np.mean(list(scores.values())))
    return Trial(1, family, estimator, params, prepared, "done", fold_scores=scores, score=mean)


@pytest.mark.parametrize("family", ["linear", "lightgbm"])
@pytest.mark.parametrize(
    ("target", "wish"),
    [
        ("lost", {"group_col": "shop"}),
        ("lost", {"group_col": "street"}),
        ("lost", {"time_col": "at"}),
        ("lost", {"time_col": "day"}),
        ("spend", {"time_col": "amount"}),
        ("lost", {"split_col": "part"}),
        ("lost", {"weight_col": "weight"}),
        ("spend", {"weight_col": "weight", "group_col": "shop"}),
        ("flag", {"metric": "f1", "positive": False}),
        ("level", {"metric": "roc_auc"}),
        ("level", {"metric": "f1", "weight_col": "weight"}),
        ("spend", {}),
        ("spend", {"metric": "r2", "imputers": {"amount": "zero"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values())),
)
def test_a_notebook_gives_its_trials_score(target: str, wish: dict[str, Any], family: Family, tmp_path: Path) -> None:
    others = {"lost", "flag", "level", "spend", "rare"} - {target}
    check(frame().drop(columns=list(others)), target, wish, family, tmp_path)


@pytest.mark.parametrize("wish", [{}, {"weight_col": "weight"}], ids=["plain", "weighted"])
def test_so_it_does_where_fits_see_a_part_of_the_largest_class(wish: dict[str, Any], tmp_path: Path) -> None:
    data = frame(40_000)[["amount", "orders", "region", "weight", "rare"]]
    found = check(data, "rare", wish, "linear", tmp_path)
    assert found.job.plan.majority_kept < 1.0


def check(data: pd.DataFrame, target: str, wish: dict[str, Any], family: Family, folder: Path) -> Asked:
    kinds = {str(name): str(kind) for name, kind in zip(data.columns, data.dtypes, strict=True)}
    task = "regression" if target == "spend" else "classification"
    asked = with_rows_kept(ask(Given(data, kinds), Wish(task, target, folds=3, **wish)), folder / "rows.parquet")  # type: ignore[arg-type]
    trial = judged(asked, family, folder)
    search = Search("s-1", asked.job.problem, asked.dataset, asked.job.plan, 60.0, 0, 1)
    ran = names_after(trial_notebook(search, trial).ipynb())
    assert np.isfinite(trial.score)
    assert ran["scores"] == pytest.approx(dict(trial.fold_scores), abs=1e-9)
    assert ran["found"] == pytest.approx(trial.score, abs=1e-9)
    return asked
