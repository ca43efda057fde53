"""Fits in this process: what folds see, and what probabilities mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from millrace.automl.ask import Asked, Wish, ask
from millrace.automl.folder import pooled
from millrace.automl.metrics import score
from millrace.automl.read import Given
from millrace.automl.space import space_of
from millrace.automl.splits import folds_of
from millrace.automl.types import Family
from millrace.automl.workers.fit import FitTask, Fitter


def asked(data: pd.DataFrame, task: str = "classification") -> Asked:
    kinds = {str(name): str(kind) for name, kind in zip(data.columns, data.dtypes, strict=True)}
    return ask(Given(data, kinds), Wish(task, "y"))  # type: ignore[arg-type]


def judged(found: Asked, family: Family, to: Path, **more: object) -> np.ndarray:
    """What the fold models say to rows that they were not fitted on."""
    space, problem = space_of(family), found.job.problem
    params = space.params({**space.default, **more}, problem, 0)
    fitter, said = Fitter(found.job), {}
    with threadpool_limits(limits=1):
        for fold in range(found.job.plan.folds):
            preparation = found.preparations[space.scale]
            task = FitTask(0, fold, space.estimator(problem), params, preparation, str(to / "model"))
            result = fitter.run(task)
            assert result.predictions is not None
            said[fold] = result.predictions
    return pooled(problem, folds_of(found.job.plan, problem.task, found.job.rows), said, len(found.job.rows))


@pytest.mark.parametrize("family", ["linear", "lightgbm"])
@pytest.mark.openmp
def test_a_category_that_means_nothing_tells_nothing_about_held_out_rows(family: Family, tmp_path: Path) -> None:
    """A target encoding that saw the rows which it is judged on would score far better than the base rate."""
    rng = np.random.default_rng(0)
    rows = 1600
    data = pd.DataFrame({"who": rng.integers(0, 500, rows).astype(str), "y": rng.integers(0, 2, rows)})
    found = asked(data)
    assert found.dataset.used[0].treatment == "target"
    said = judged(found, family, tmp_path)
    area = score(replace(found.job.problem, metric="roc_auc", higher_is_better=True), found.job.rows.target, said)
    assert abs(area - 0.5) < 3 * np.sqrt(1 / 12 * (1 / 800 + 1 / 800))  # three standard errors of an area of noise


@pytest.mark.openmp
@pytest.mark.parametrize(
    ("family", "more"),
    [("linear", {}), ("lightgbm", {"num_leaves": 4, "learning_rate": 0.05})],  # what overfits moves it by itself
)
def test_leaving_out_rows_of_the_largest_class_does_not_move_the_base_rate(
    family: Family, more: dict[str, object], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    rows = 6000
    x = rng.normal(size=(rows, 3))
    chance = 1 / (1 + np.exp(-(x[:, 0] + x[:, 1] - 4)))
    found = asked(pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=(rng.random(rows) < chance).astype(int)))
    truth = found.job.rows.target
    assert truth.mean() < 0.06
    thinned = replace(found, job=replace(found.job, plan=replace(found.job.plan, majority_kept=0.3, repeats=1)))
    said = judged(thinned, family, tmp_path, **more)[:, 1]
    error = np.sqrt(truth.mean() * (1 - truth.mean()) / rows)
    assert said.mean() == pytest.approx(truth.mean(), abs=2 * error)


def test_the_same_task_gives_the_same_score_to_the_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"who": rng.integers(0, 60, 300).astype(str), "x": rng.normal(size=300)})
    found = asked(data.assign(y=(data.x + rng.normal(size=300) > 0).astype(int)))
    first, second = (judged(found, "linear", tmp_path) for _ in range(2))
    assert (first == second).all()


def test_wide_data_is_fitted(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(50, 2000)), columns=[f"x{place}" for place in range(2000)])
    found = asked(data.assign(y=(data.x0 > 0).astype(int)))
    assert judged(found, "linear", tmp_path).shape == (50, 2)


def test_times_become_parts_that_a_model_learns_from(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    when = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 24 * 100, 400), "h")
    data = pd.DataFrame({"when": when}).assign(y=lambda rows: (rows.when.dt.hour > 11).astype(int))
    data.loc[::50, "when"] = pd.NaT
    found = asked(data)
    said = judged(found, "linear", tmp_path)
    assert score(replace(found.job.problem, metric="accuracy"), found.job.rows.target, said) > 0.9


def test_numbers_are_regressed(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"x": rng.normal(size=200), "colour": rng.choice(["red", "green"], 200)})
    found = asked(data.assign(y=3 * data.x + (data.colour == "red")), "regression")
    assert score(found.job.problem, found.job.rows.target, judged(found, "linear", tmp_path)) < 0.1


def many_categories() -> pd.DataFrame:
    """100,000 categories that tell nothing, but for ten that a quarter of the rows have, which tell all."""
    rng = np.random.default_rng(0)
    who = np.concatenate([np.arange(100_000), np.arange(30_000) % 10])
    truth = np.where(who < 10, who % 2, rng.integers(0, 2, len(who)))
    return pd.DataFrame({"who": [f"c{place}" for place in who], "y": truth})


def test_categories_beyond_the_most_frequent_are_said_to_be_taken_as_one() -> None:
    found = asked(many_categories())
    (column,) = found.dataset.used
    assert (column.treatment, column.distinct) == ("target", 100_000)
    assert column.why == "the 10,000 most frequent of 100,000 categories are told apart"
    ((name, categories),) = found.preparations[False].target
    assert (name, len(categories)) == ("who", 10_000)
    assert {f"c{place}" for place in range(10)} < set(categories)


@pytest.mark.slow
@pytest.mark.openmp
@pytest.mark.parametrize("family", ["linear", "lightgbm"])
def test_a_hundred_thousand_categories_are_learned_from(family: Family, tmp_path: Path) -> None:
    data = many_categories()
    found = asked(data)
    said = judged(found, family, tmp_path)
    unknowable = (~data.who.isin([f"c{place}" for place in range(10)])).mean()
    assert score(found.job.problem, found.job.rows.target, said) == pytest.approx(unknowable * np.log(2), abs=0.01)
