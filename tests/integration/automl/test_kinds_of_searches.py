"""Searches that are asked for something else than a bag that tells classes: numbers, one quick model, one in time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import mlflow  # noqa: TID253 - the user
import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from millrace import automl
from millrace.tracking.types import RunId
from millrace.workspace import require_home
from tests.integration.automl.ran_notebooks import names_after

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, while a model is loaded.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def visits(rows: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"visits": rng.poisson(4, rows), "region": rng.choice(["north", "south"], rows)})
    data["at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.permutation(rows), "h")
    data["spend"] = 10 * data.visits + 20 * (data.region == "north") + rng.normal(size=rows)
    return data.assign(stays=np.where(data.visits + rng.normal(size=rows) > 4, "yes", "no"))


@pytest.mark.openmp
def test_numbers_from_a_frame_to_a_model_with_runs_notebook_and_exploration(tmp_path: Path) -> None:
    data = visits()
    found = automl.regress(
        data, "spend", minutes=5, max_trials=3, folds=2, exclude_cols=["stays"], home=tmp_path / "home"
    )
    assert [trial.family for trial in found.trials] == ["dummy", "linear", "lightgbm"]
    assert {trial.state for trial in found.trials} == {"done"}
    dummy, linear = found.trials[:2]
    assert linear.score < 2.0  # the noise has standard deviation 1
    assert dummy.score > 15.0
    said = found.model.predict(data)
    assert np.sqrt(np.mean((said - data.spend) ** 2)) < 2.0
    with closing(require_home(tmp_path / "home")) as workspace:
        mlflow.set_tracking_uri(workspace.settings.mlflow_url)
        search = workspace.tracking.get(RunId(str(found.search.run_id)))
        kept = workspace.tracking.get(RunId(str(linear.run_id)))
    assert (search.status, search.params["task"], search.params["metric"]) == ("FINISHED", "regression", "rmse")
    assert search.metrics["rmse"] == pytest.approx(found.final.score)
    assert kept.metrics["score"] == pytest.approx(linear.score)
    assert (mlflow.sklearn.load_model(found.model_uri).predict(data) == said).all()
    for trial in found.trials:
        assert names_after(found.notebook(trial))["found"] == pytest.approx(trial.score, abs=1e-9)
    explored = names_after(found.exploration())
    assert (explored["IS_CLASS"], len(explored["frame"])) == (False, 240)
    assert [each.column for each in found.search.importance][:2] == ["visits", "region"]


@pytest.mark.parametrize("asked", [{"latency": "low"}, {"time_col": "at"}], ids=["low latency", "in time"])
def test_one_model_of_all_rows(asked: dict[str, str], tmp_path: Path) -> None:
    data = visits()
    found = automl.classify(
        data,
        "stays",
        minutes=5,
        max_trials=3,
        folds=2,
        exclude_cols=["spend"],
        home=tmp_path / "home",
        **asked,  # type: ignore[arg-type]
    )
    assert (found.final.kind, len(found.final.members)) == ("refit", 1)
    assert found.final.members[0].trial == found.found.leaderboard[0].number
    assert len(found.model.estimators_) == 1
    by_hand = names_after(found.notebook())
    with threadpool_limits(limits=1):
        fitted = by_hand["model"]().fit(by_hand["X"], by_hand["y"])
    assert (found.model.predict_proba(data) == fitted.predict_proba(by_hand["X"])).all()
    assert found.model_uri
