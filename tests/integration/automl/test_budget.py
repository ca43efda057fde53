"""The time is kept, end to end. Alone on the machine: what else runs takes time that the search believes to have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest

import millrace as mr
from millrace import automl
from millrace.training.types import Track, TrainingData
from millrace.workspace import open_workspace

pytestmark = pytest.mark.alone


def many_rows(rows: int, columns: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(rows, columns)), columns=[f"x{place}" for place in range(columns)])
    return data.assign(y=(data.x0 + rng.normal(size=rows) > 0).astype(int))


@pytest.mark.parametrize(
    ("data", "budget_s"),
    [(many_rows(300, 5), 10), (many_rows(150_000, 30), 15), (many_rows(50, 2000), 15)],
    ids=["short", "fits that are killed", "wide"],
)
def test_a_search_ends_in_its_time(data: pd.DataFrame, budget_s: float, tmp_path: Path) -> None:
    limit_s = budget_s + max(1.0, 0.05 * budget_s)
    took = [spent_by_a_search(data, budget_s, tmp_path / "first")]
    if (
        took[0] > limit_s
    ):  # something else may have held up the machine, for which a search can't plan: two of three decide
        took += [spent_by_a_search(data, budget_s, tmp_path / name) for name in ("second", "third")]
    assert sorted(took)[len(took) // 2] <= limit_s, took


def spent_by_a_search(data: pd.DataFrame, budget_s: float, home: Path) -> float:
    """The seconds that it takes in a new home."""
    workspace = open_workspace(home)
    workspace.tracking.finish(workspace.tracking.start("x", "MLflow's database is made once for a home", {}))
    workspace.close()
    begun = time.monotonic()
    found = automl.classify(data, "y", minutes=budget_s / 60, home=home)
    spent = time.monotonic() - begun
    assert found.model.predict_proba(data.drop(columns="y")).shape == (len(data), 2)
    assert found.model_uri
    return spent


def test_a_candidate_ends_in_its_time_with_all_that_is_logged_of_it(tmp_path: Path) -> None:
    data, budget_s = many_rows(2000, 5), 20
    labels = data.y.to_numpy()
    took: list[float] = []
    for seed in range(3):
        with closing(open_workspace(tmp_path / "home")) as workspace:
            run = workspace.tracking.start("x", f"automl {seed}", {})
            track = Track(tmp_path / "kept", workspace.tracking, "x", run)
            begun = time.monotonic()
            mr.AutoML(minutes=budget_s / 60).fit(
                TrainingData(data.drop(columns="y"), labels, seed=seed, threads=2, track=track)
            )
            took.append(time.monotonic() - begun)
            nested = [one for one in workspace.tracking.list("x") if one.tags.get("mlflow.parentRunId") == run]
            assert nested
            assert "nbformat" in workspace.tracking.read_text(nested[0].id, "notebook.ipynb")
        if took[0] <= budget_s + 1.0:
            return
    assert sorted(took)[1] <= budget_s + 1.0, took  # as above


def test_five_seconds_are_kept_by_a_program_that_has_imported_nothing(tmp_path: Path) -> None:
    """The model is there in time; its runs come behind, and the program waits for them before it ends."""
    many_rows(300, 5).to_parquet(tmp_path / "rows.parquet")
    program = (
        "import time\nimport pandas\nfrom millrace import automl\nrows = pandas.read_parquet('rows.parquet')\n"
        "begun = time.monotonic()\nfound = automl.classify(rows, 'y', minutes=5 / 60, home='home')\n"
        "print(time.monotonic() - begun, found.model.predict_proba(rows.drop(columns='y')).shape)\n"
    )
    took = [float(said_by(program, tmp_path).split()[0])]
    if took[0] > 6.0:  # as above
        took += [float(said_by(program, tmp_path).split()[0]) for _ in range(2)]
    with closing(open_workspace(tmp_path / "home")) as workspace:
        runs = workspace.tracking.list("automl frame")
        searches = [run for run in runs if run.name.startswith("search ")]
        assert {run.status for run in searches} == {"FINISHED"}
        assert len(searches) == len(took)
        assert all(workspace.tracking.logged_model(run.id, "model") for run in searches)
    assert sorted(took)[len(took) // 2] <= 6.0, took


def said_by(program: str, folder: Path) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120).stdout


def test_ctrl_c_ends_with_what_there_is(tmp_path: Path) -> None:
    many_rows(500, 5).to_parquet(tmp_path / "rows.parquet")
    program = (
        "import os, signal, sys, threading\nimport pandas\nfrom millrace import automl\n"
        # Ctrl-C may come where Python can't raise, as when a weak reference ends: then it is pressed again.
        "press = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "is_lost = lambda told: told.exc_type is KeyboardInterrupt\n"
        "sys.unraisablehook = lambda told: is_lost(told) and threading.Timer(0.1, press).start()\n"
        "found = automl.classify(pandas.read_parquet('rows.parquet'), 'y', minutes=5, home='home')\n"
        "print(found.interrupted, found.final.kind, found.model_uri)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 120
        while len(list(tmp_path.glob("home/automl/*/trials/*.json"))) < 3:
            assert time.monotonic() < end
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGINT)
        said, _ = running.communicate(timeout=240)
    finally:
        running.kill()
        running.wait()
    assert said.startswith("True ")
    assert "models:/" in said
