"""What a search keeps beside its model: notebooks that give each trial's score again, one about the data, and importances."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest

from millrace import automl
from millrace.tracking.types import RunId
from millrace.workspace import Workspace, require_home
from tests.integration.automl.ran_notebooks import executed, names_after

ROWS = 240
pytestmark = pytest.mark.slow


def shop() -> pd.DataFrame:
    """With all that a preparation has to do with: gaps, infinities, texts of few and of many values, times, booleans, classes by name."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"spend": rng.exponential(50, ROWS), "visits": rng.poisson(4, ROWS)})
    data["colour"] = rng.choice(np.array(["red", "green", None], dtype=object), ROWS)
    data["street"] = [f"street {number}" for number in rng.integers(0, 60, ROWS)]
    data["since"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 300, ROWS), "D")
    data["member"] = rng.random(ROWS) < 0.4
    data.loc[::9, "spend"] = np.nan
    data.loc[4, "spend"] = np.inf
    chance = 1 / (1 + np.exp(-(data["visits"] - 4 + (data["colour"] == "red"))))
    return data.assign(churned=np.where(rng.random(ROWS) < chance, "yes", "no"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("searched") / "home"


@pytest.fixture(scope="module")
def found(home: Path) -> automl.AutoMLSummary:
    return automl.classify(shop(), "churned", minutes=5, max_trials=5, folds=2, home=home)


@pytest.fixture
def workspace(home: Path, found: automl.AutoMLSummary) -> Iterator[Workspace]:
    del found
    with contextlib.closing(require_home(home)) as opened:
        yield opened


def test_each_trials_notebook_gives_its_score_again(found: automl.AutoMLSummary) -> None:
    judged = [trial for trial in found.trials if trial.fold_scores]
    assert {trial.family for trial in judged} >= {"dummy", "linear", "lightgbm", "xgboost", "hist_gb"}
    for trial in judged:
        names = names_after(found.notebook(trial))
        assert names["scores"] == pytest.approx(dict(trial.fold_scores), abs=1e-9), trial.name


@pytest.mark.long
def test_millrace_exec_runs_them(found: automl.AutoMLSummary, workspace: Workspace, tmp_path: Path) -> None:
    assert "the same" in executed(workspace.home, found.notebook(), tmp_path)
    of_data = executed(workspace.home, found.exploration(), tmp_path)
    assert "Nothing smells of leakage." in of_data
    assert of_data.count("image/png") >= 6


def test_in_source_format_it_has_the_same_cells(found: automl.AutoMLSummary) -> None:
    code = ["".join(cell["source"]) for cell in json.loads(found.notebook())["cells"] if cell["cell_type"] == "code"]
    cells = found.notebook(source=True).split("\n\n# COMMAND ----------\n\n")
    assert code == [cell.strip("\n") for cell in cells if "# MAGIC %md" not in cell]


def test_importances_are_kept_as_table_and_picture(found: automl.AutoMLSummary, workspace: Workspace) -> None:
    run = RunId(str(found.search.run_id))
    lines = list(csv.DictReader(io.StringIO(workspace.tracking.read_text(run, "importance.csv"))))
    assert {line["column"] for line in lines} == {"spend", "visits", "colour", "street", "since", "member"}
    assert lines[0]["column"] == "visits"
    assert float(lines[0]["low"]) < float(lines[0]["loss"]) < float(lines[0]["high"])
    assert workspace.tracking.read_text(run, "importance.svg").startswith("<svg")
