"""FLAML and AutoGluon behind `classify` and `regress`: FLAML in the environment that `make test-all` makes, AutoGluon where `make bench-automl` made its own."""

from __future__ import annotations

import pickle
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - what a user gives
import pytest

from millrace.automl import classify, regress
from millrace.core.errors import InvalidInput
from millrace.tracking.types import RunId
from millrace.workspace import open_workspace

BENCH = Path(__file__).resolve().parents[3] / ".bench"
ENGINES = ["flaml", *(["autogluon"] if (BENCH / "automl-autogluon" / ".made").exists() else [])]
ROWS = 300

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    made = pd.DataFrame({"amount": rng.normal(size=ROWS), "orders": rng.integers(0, 9, ROWS)})
    made["region"] = rng.choice(np.array(["north", "south", None], dtype=object), ROWS)
    made["since"] = pd.date_range("2024-01-01", periods=ROWS, freq="5h", tz="UTC")
    made["lost"] = np.where(made["orders"] + rng.normal(size=ROWS) > 4, "stayed", "lost")
    made["spend"] = made["orders"] * 10 + rng.normal(size=ROWS)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose engines are the benchmark's."""
    (tmp_path / "engines").mkdir()
    for name in ENGINES:
        if not (BENCH / f"automl-{name}" / ".made").exists():
            pytest.skip(f"{name} is not installed: python benchmarks/peers.py automl-{name}")
        (tmp_path / "engines" / name).symlink_to(BENCH / f"automl-{name}")
    return tmp_path


@pytest.mark.parametrize("engine", ENGINES)
class TestEngines:
    def test_a_classifier_by_names_of_its_classes(self, home: Path, engine: str) -> None:
        rows = frame()
        found = classify(
            rows, "lost", minutes=0.4, exclude_cols=["spend"], pos_label="lost", latency="low", home=home, engine=engine
        )
        kept = pickle.loads(pickle.dumps(found.model))  # noqa: S301 - made here
        assert list(kept.classes_) == ["lost", "stayed"]
        shares = kept.predict_proba(rows)
        assert shares.sum(axis=1) == pytest.approx(1.0)
        assert (kept.predict(rows) == kept.classes_[shares.argmax(axis=1)]).all()
        assert (kept.predict(rows) == rows["lost"]).mean() > 0.8
        assert found.final.score < 0.65  # log-loss; knowing nothing gives 0.69
        with closing(open_workspace(home)) as workspace:
            run = workspace.tracking.get(RunId(str(found.search.run_id)))
            assert run.status == "FINISHED"
            assert "what knows too much" in workspace.tracking.read_text(run.id, "exploration.ipynb").lower()

    def test_a_number_judged_on_later_rows_comes_back_from_mlflow(self, home: Path, engine: str) -> None:
        import mlflow

        rows = frame()
        found = regress(
            rows, "spend", minutes=0.4, exclude_cols=["lost"], time_col="since", latency="low", home=home, engine=engine
        )
        with closing(open_workspace(home)) as workspace:
            mlflow.set_tracking_uri(workspace.settings.mlflow_url)
            logged = mlflow.sklearn.load_model(found.model_uri)
        assert logged.predict(rows) == pytest.approx(found.model.predict(rows))
        assert np.corrcoef(logged.predict(rows), rows["spend"])[0, 1] > 0.9
        with pytest.raises(InvalidInput, match="no column 'orders'"):
            logged.predict(rows.drop(columns="orders"))
        logged.close()

    def test_a_metric_that_it_does_not_know_is_refused(self, home: Path, engine: str) -> None:
        with pytest.raises(InvalidInput, match="can't aim at brier"):
            classify(frame(), "lost", primary_metric="brier", minutes=0.2, home=home, engine=engine)
