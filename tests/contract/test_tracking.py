"""What the Tracking port promises, on MLflow's SQLite."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.tracking.adapters.mlflow import MlflowTracking
from millrace.tracking.types import ModelToLog, RunId

START = datetime(2024, 5, 1, 6, tzinfo=UTC)
FRAME = pd.DataFrame({"a": [0.0, 1.0, np.nan, 3.0] * 25, "b": [5.0, 4.0, 3.0, 2.0] * 25})
LABELS = np.array([0, 1, 0, 1] * 25)
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")  # MLflow about itself


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: that takes over a second."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowTracking(f"sqlite:///{path}", path.parent / "artifacts", ManualClock(START)).list("none")
    return path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def tracking(tmp_path: Path, empty_database: Path, clock: ManualClock) -> MlflowTracking:
    for name in ("mlflow.db", "mlflow.db-wal"):
        source = empty_database.parent / name
        if source.exists():
            (tmp_path / name).write_bytes(source.read_bytes())
    return MlflowTracking(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts", clock)


def test_a_run_from_start_to_end(tracking: MlflowTracking, clock: ManualClock) -> None:
    run = tracking.start("shop.churn", "xgboost", {"millrace.code": "abc"})
    clock.advance(timedelta(hours=1))
    tracking.log(run, params={"depth": 6, "names": ["a"]}, metrics={"f1": 0.5, "auc": float("nan")}, tags={"t": "1"})
    assert tracking.get(run).status == "RUNNING"
    tracking.finish(run)
    found = tracking.get(run)
    assert (found.id, found.experiment, found.name, found.status) == (run, "shop.churn", "xgboost", "FINISHED")
    assert found.started_at == START
    assert dict(found.params) == {"depth": "6", "names": '["a"]'}
    assert dict(found.metrics) == {"f1": 0.5}
    assert found.tags["millrace.code"] == "abc"
    assert found.tags["t"] == "1"


def test_times_in_the_database_are_the_clocks(tracking: MlflowTracking, clock: ManualClock) -> None:
    run = tracking.start("e", "r", {})
    clock.advance(timedelta(minutes=3))
    tracking.log(run, metrics={"x": 1.0})
    tracking.finish(run, failed=True)
    kept = tracking._client.get_run(run)
    assert kept.info.end_time == int((START + timedelta(minutes=3)).timestamp() * 1000)
    assert tracking._client.get_metric_history(run, "x")[0].timestamp == kept.info.end_time
    assert tracking.get(run).status == "FAILED"


def test_a_key_finds_the_run_again(tracking: MlflowTracking) -> None:
    run = tracking.start("e", "r", {}, key="plan-7/train")
    assert tracking.start("e", "other", {}, key="plan-7/train") == run
    tracking.finish(run)
    assert tracking.start("e", "r", {}, key="plan-7/train") == run
    assert tracking.get(run).status == "FINISHED"
    assert tracking.start("e", "r", {}, key="plan-8/train") != run
    assert tracking.start("other", "r", {}, key="plan-7/train") != run
    found = tracking.find("e", "plan-7/train")
    assert found is not None
    assert found.id == run
    assert tracking.find("e", "it's new") is None
    assert tracking.find("nowhere", "plan-7/train") is None


def test_a_failed_run_goes_on_under_its_key(tracking: MlflowTracking) -> None:
    run = tracking.start("e", "r", {}, key="k")
    tracking.finish(run, failed=True)
    assert tracking.start("e", "r", {}, key="k") == run
    assert tracking.get(run).status == "RUNNING"


def test_runs_are_listed_newest_first(tracking: MlflowTracking, clock: ManualClock) -> None:
    made = []
    for number in range(3):
        made.append(tracking.start("e", f"r{number}", {}))
        clock.advance(timedelta(days=1))
    assert [run.id for run in tracking.list("e")] == made[::-1]
    assert [run.id for run in tracking.list("e", limit=1)] == made[-1:]
    assert tracking.list("nothing here") == []


def test_a_long_parameter_is_cut_and_the_same_one_may_be_logged_again(tracking: MlflowTracking) -> None:
    run = tracking.start("e", "r", {})
    for _ in range(2):
        tracking.log(run, params={"long": "x" * 10_000})
    assert tracking.get(run).params["long"] == "x" * 6000


def test_texts(tracking: MlflowTracking) -> None:
    run = tracking.start("e", "r", {})
    tracking.log_text(run, "pinned: ä 1", "records/training.json")
    assert tracking.read_text(run, "records/training.json") == "pinned: ä 1"
    with pytest.raises(NotFound, match=r"no text 'nothing.txt'"):
        tracking.read_text(run, "nothing.txt")


def test_unknown_runs(tracking: MlflowTracking) -> None:
    with pytest.raises(NotFound):
        tracking.get(RunId("f" * 32))
    with pytest.raises(NotFound):
        tracking.log(RunId("f" * 32), metrics={"x": 1.0})


def test_a_database_that_can_not_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, whatever its name says" * 100)
    tracking = MlflowTracking(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, ManualClock(START))
    with pytest.raises(InvalidState, match=r"can't be used: file is not a database\n  hint: check MILLRACE_MLFLOW_URL"):
        tracking.list("e")


def models() -> dict[str, tuple[str, Callable[[], Any]]]:
    """Flavor and fitted model by name."""

    def linear() -> Any:
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        return make_pipeline(SimpleImputer(), LogisticRegression()).fit(FRAME, LABELS)

    def xgboost() -> Any:
        from xgboost import XGBClassifier

        return XGBClassifier(n_estimators=4, n_jobs=1).fit(FRAME, LABELS)

    def lightgbm() -> Any:
        from lightgbm import LGBMClassifier

        return LGBMClassifier(n_estimators=4, n_jobs=1, verbosity=-1).fit(FRAME, LABELS)

    def own_class() -> Any:
        from sklearn.dummy import DummyClassifier

        class Grumpy(DummyClassifier):  # type: ignore[misc]
            """skops can't know it."""

        return Grumpy().fit(FRAME, LABELS)

    return {
        "linear": ("sklearn", linear),
        "xgboost": ("xgboost", xgboost),
        "lightgbm": ("lightgbm", lightgbm),
        "own class": ("sklearn", own_class),
    }


def to_log(name: str) -> ModelToLog:
    from mlflow.models import infer_signature

    flavor, make = models()[name]
    model = make()
    signature = infer_signature(FRAME, model.predict(FRAME))
    return ModelToLog(
        model, flavor, signature, FRAME.head(3), '{"format":1}', ("scikit-learn==1.9.1",), {"code": "abc"}
    )


@pytest.mark.parametrize("name", list(models()))
def test_a_logged_model_answers_the_same_from_every_loader(name: str, tracking: MlflowTracking) -> None:
    import importlib

    import mlflow.pyfunc

    from millrace.training.models import feature_spec_of, load_native, predict_proba

    given = to_log(name)
    run = tracking.start("e", name, {})
    tracking.log(run, metrics={"f1": 0.5})
    uri = tracking.log_model(run, "model", given)
    assert uri.startswith("models:/m-")
    logged = tracking._client.get_logged_model(uri.removeprefix("models:/"))
    assert (logged.status, logged.source_run_id) == ("READY", run)
    assert [(metric.key, metric.value) for metric in logged.metrics] == [("f1", 0.5)]
    folder = logged.artifact_location.removeprefix("file://")
    native: Any = given.model
    expected = native.predict_proba(FRAME)[:, 1].astype(float).tobytes()
    assert predict_proba(load_native(folder), FRAME).tobytes() == expected
    assert (
        predict_proba(importlib.import_module(f"mlflow.{given.flavor}").load_model(folder), FRAME).tobytes() == expected
    )
    labels = mlflow.pyfunc.load_model(folder).predict(FRAME)
    assert np.asarray(labels).tolist() == native.predict(FRAME).tolist()
    assert feature_spec_of(folder) == '{"format":1}'
    assert (Path(folder) / "requirements.txt").read_text().splitlines() == ["mlflow==3.17.2", "scikit-learn==1.9.1"]


def test_a_model_that_was_stored_whole_is_found_by_its_run_and_name(tracking: MlflowTracking) -> None:
    run = tracking.start("e", "r", {})
    assert tracking.logged_model(run, "model") is None
    uri = tracking.log_model(run, "model", to_log("linear"))
    assert tracking.logged_model(run, "model") == uri
    assert tracking.logged_model(run, "another") is None
    tracking._client.finalize_logged_model(uri.removeprefix("models:/"), "FAILED")
    assert tracking.logged_model(run, "model") is None


def test_an_unknown_flavor_is_refused(tracking: MlflowTracking) -> None:
    run = tracking.start("e", "r", {})
    with pytest.raises(InvalidInput, match="did you mean 'sklearn'"):
        tracking.log_model(run, "model", ModelToLog(object(), "scikitlearn", None))


def test_logging_a_model_is_quiet_and_leaves_the_process_as_it_was(
    tracking: MlflowTracking, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    before = (mlflow.get_tracking_uri(), logging.getLogger("mlflow").level, {path.name for path in tmp_path.iterdir()})
    given = to_log("own class")
    capfd.readouterr()
    tracking.log_model(tracking.start("e", "r", {}), "model", given)
    assert (mlflow.get_tracking_uri(), logging.getLogger("mlflow").level) == before[:2]
    assert mlflow.active_run() is None
    assert {path.name for path in tmp_path.iterdir()} - before[2] <= {
        "mlartifacts",
        "mlflow.db-wal",
        "mlflow.db-shm",
        "mlflow.db.lock",
    }
    assert capfd.readouterr() == ("", "")


_OPEN = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from millrace.core.clock import ManualClock
from millrace.tracking.adapters.mlflow import MlflowTracking
home = Path(sys.argv[1])
tracking = MlflowTracking(f"sqlite:///{home / 'mlflow.db'}", home / "mlartifacts", ManualClock(datetime(2024, 5, 1, tzinfo=UTC)))
print(tracking.start("e", "r", {}))
"""


@pytest.mark.slow
def test_two_processes_open_a_fresh_database_at_once(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            text=True,
        )
        for _ in range(2)
    ]
    results = [(process.communicate(timeout=120), process.returncode) for process in started]
    assert [code for _, code in results] == [0, 0], results
    assert [err for (_, err), _ in results] == ["", ""]
    made = {out.strip() for (out, _), _ in results}
    tracking = MlflowTracking(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts", ManualClock(START))
    assert {run.id for run in tracking.list("e")} == made
    assert len(made) == 2
    assert not (tmp_path / "mlruns").exists()
    assert str(tmp_path / "mlartifacts") in tracking._client.get_experiment("0").artifact_location
