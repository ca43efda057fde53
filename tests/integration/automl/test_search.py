from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

import mlflow  # noqa: TID253 - the user
import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest

from millrace import automl
from millrace.automl.folder import SearchFolder
from millrace.automl.types import Search, Trial
from millrace.tracking.types import RunId
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
@pytest.mark.openmp
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
    assert set(found.notebooks) == {trial.name for trial in found.trials}
    loaded = mlflow.sklearn.load_model(found.model_uri)
    assert (loaded.predict_proba(asked) == shares).all()
    assert found.register("ml.models.churn") == "1"
    assert "linear 1" in str(found)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_terminal_is_told_the_best_so_far_and_a_pipe_is_not(tmp_path: Path) -> None:
    shop().to_parquet(tmp_path / "rows.parquet")
    program = (
        "import pandas\nfrom millrace import automl\nrows = pandas.read_parquet('rows.parquet')\n"
        "print(len(automl.classify(rows, 'churned', minutes=5, max_trials=2, folds=2, home='home').trials))\n"
    )
    piped = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=240
    )
    assert piped.stdout == "2\n"
    assert not any("240 rows" in line or line.endswith(" s left") for line in piped.stderr.splitlines())
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
            timeout=240,
        )
        os.close(theirs)
        told = _read_to_its_end(terminal).decode().splitlines()
    assert told[0] == "frame: 240 rows, 4 columns, 8 fits a trial"
    assert any("; best 0." in line and line.endswith(" s left") for line in told[1:])


def _read_to_its_end(terminal: IO[bytes]) -> bytes:
    """What was written to it, which comes in parts, when nobody holds its other side any more."""
    told = b""
    with suppress(OSError):  # that is the end
        while part := terminal.read(65536):
            told += part
    return told


@pytest.mark.slow
def test_a_search_that_was_killed_before_it_was_done_goes_on_though_its_runs_are_there(tmp_path: Path) -> None:
    """With more time, which is one of the run's parameters."""
    first = automl.classify(shop(), "churned", minutes=5, max_trials=2, folds=2, home=tmp_path / "home")
    run = first.search.run_id
    (kept,) = tmp_path.glob("home/automl/*")
    SearchFolder(kept).keep_state(done=False)
    found = automl.classify(shop(), "churned", minutes=6, max_trials=3, folds=2, home=tmp_path / "home")
    assert found.search.run_id == run
    assert [trial.run_id for trial in found.trials][:2] == [trial.run_id for trial in first.trials]
    assert found.model_uri != first.model_uri
    with closing(require_home(tmp_path / "home")) as workspace:
        kept_of_it = workspace.tracking.get(RunId(str(run)))
        assert (kept_of_it.status, kept_of_it.params["budget_s"], kept_of_it.metrics["trials"]) == (
            "FINISHED",
            "300.0",
            3,
        )
        assert kept_of_it.tags["final"] == found.final.kind


class Ends:
    """Looks on, and ends the search with its first trial, as far as the search can see; empty, as a list of trials is at first."""

    def __len__(self) -> int:
        return 0

    def begun(self, search: Search) -> None: ...

    def ended(self, trial: Trial, best: Trial | None, left_s: float) -> None:
        del trial, best, left_s
        raise EOFError


@pytest.mark.slow
def test_what_was_used_before_each_end_counts(tmp_path: Path) -> None:
    for used_s in (0.0, 100.0):
        for kept in tmp_path.glob("home/automl/*"):
            SearchFolder(kept).keep_state(used_s=used_s)
        with pytest.raises(EOFError):
            automl.classify(shop(), "churned", minutes=5, folds=2, home=tmp_path / "home", watch=Ends())
    (folder,) = tmp_path.glob("home/automl/*")
    assert SearchFolder(folder).state()["used_s"] > 100.0


@pytest.mark.long
def test_a_killed_search_goes_on_with_its_finished_trials(tmp_path: Path) -> None:
    shop().to_parquet(tmp_path / "rows.parquet")
    program = (
        "import pandas, sys\nfrom millrace import automl\n"
        "found = automl.classify(pandas.read_parquet('rows.parquet'), 'churned', minutes=5, folds=2, home='home', max_trials=int(sys.argv[1]))\n"
        "print([trial.number for trial in found.trials], found.search.id)\n"
        "assert all(trial.run_id and trial.notebook for trial in found.trials)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", program, "200"], cwd=tmp_path)
    try:
        _wait_for(lambda: len(list(tmp_path.glob("home/automl/*/trials/*.json"))) >= 3)
    finally:
        first.kill()
        first.wait()
    done = {int(path.stem) for path in tmp_path.glob("home/automl/*/trials/*.json")}
    kept = {path: path.read_bytes() for path in tmp_path.glob("home/automl/*/trials/*.json")}
    again = subprocess.run(
        [sys.executable, "-c", program, str(len(done) + 1)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    numbers = set(json.loads(again.stdout.split("]")[0] + "]"))
    assert done < numbers
    assert len(list(tmp_path.glob("home/automl/*"))) == 1
    assert all(path.read_bytes() == text for path, text in kept.items())


def _wait_for(holds: Callable[[], bool], patience_s: float = 240.0) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
