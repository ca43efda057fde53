from __future__ import annotations

from contextlib import closing
from pathlib import Path

import mlflow  # noqa: TID253 - the user
import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest

from millrace import automl
from millrace.workspace import require_home


def shop(rows: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    data = pd.DataFrame(
        {
            "spend": rng.exponential(50, rows),
            "visits": rng.poisson(4, rows).astype(float),
            "colour": np.array(["red", "green", None], dtype=object)[rng.integers(0, 3, rows)],
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), "D"),
        }
    )
    data.loc[::9, "spend"] = np.nan
    chance = 1 / (1 + np.exp(-(data.visits - 4 + (data.colour == "red"))))
    return data.assign(churned=np.where(rng.random(rows) < chance, "yes", "no"))


@pytest.mark.slow
def test_from_a_frame_to_a_logged_model_with_a_run_for_each_trial(tmp_path: Path) -> None:
    data = shop()
    found = automl.classify(data, "churned", minutes=5, max_trials=3, folds=2, home=tmp_path / "home")
    assert [trial.family for trial in found.trials] == ["dummy", "linear", "lightgbm"]
    assert {trial.state for trial in found.trials} == {"done"}
    asked = data.drop(columns="churned")
    shares = found.model.predict_proba(asked)
    assert list(found.model.classes_) == ["no", "yes"]
    assert set(found.model.predict(asked)) == {"no", "yes"}
    with closing(require_home(tmp_path / "home")) as workspace:
        mlflow.set_tracking_uri(workspace.settings.mlflow_url)
        runs = workspace.tracking.list(found.experiment)
    (parent,) = [run for run in runs if run.id == found.search.run_id]
    nested = [run for run in runs if run.tags.get("mlflow.parentRunId") == parent.id]
    assert {run.name for run in nested} == {trial.name for trial in found.trials}
    for trial in found.trials:
        (run,) = [run for run in nested if run.id == trial.run_id]
        assert run.metrics["score"] == pytest.approx(trial.score)
        assert [run.metrics[f"fold_{fold:02d}"] for fold in trial.fold_scores] == list(trial.fold_scores.values())
    loaded = mlflow.sklearn.load_model(found.model_uri)
    assert (loaded.predict_proba(asked) == shares).all()
    assert found.register("ml.models.churn") == "1"
    assert "linear 1" in str(found)
