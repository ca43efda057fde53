"""A pipeline whose candidate is a search: all of it is kept, and each trial can be run again by hand."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import millrace as mr
from millrace.pipeline.execute import run_pipeline
from millrace.tracking.types import RunId
from millrace.workspace import open_workspace
from tests.integration.automl.ran_notebooks import executed
from tests.unit.pipeline.shop import DAY, PURCHASES, SCHEMA, START, WEEK, Purchase, declared, no_target, purchases

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    # MLflow's own, while models are logged in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@dataclass
class Told:
    """Progress that remembers what running stages said."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        del seconds
        if status == "running" and detail:
            self.said.append((name, detail))

    def advance(self, name: str, done: int, total: int) -> None: ...


def bought() -> list[Purchase]:
    """By 120 customers, half of whom buy about every third day and half about every third week."""
    rng = np.random.default_rng(1)
    often = np.where(np.arange(120) % 2 == 0, 1 / 3, 1 / 21)
    who, day = np.nonzero(rng.random((120, 70)) < often[:, None])
    amounts = rng.gamma(2.0, 10.0, len(who)).round(2)
    return [
        (int(one), START + int(number) * DAY - 2 * WEEK + timedelta(hours=9), float(amount))
        for one, number, amount in zip(who, day, amounts, strict=True)
    ]


def test_each_trial_has_a_notebook_that_gives_its_logged_score(tmp_path: Path) -> None:
    pipeline = declared(
        candidates=[mr.AutoML(minutes=5, max_trials=2), mr.Dummy()], gates=[mr.AtLeast(roc_auc=0.9999)], skip_gates=()
    )
    told = Told()
    with closing(open_workspace(tmp_path / "home")) as workspace:
        workspace.clock.set(START + 8 * WEEK)
        workspace.lake.create(PURCHASES, SCHEMA)
        workspace.lake.append(PURCHASES, purchases(bought()))
        report = run_pipeline(workspace, pipeline, no_target, told)
        assert report.status == "refused"
        runs = {run.name: run for run in workspace.tracking.list("shop")}
        search, best = runs["automl"], runs["linear 1"]
        assert best.tags["mlflow.parentRunId"] == search.id
        assert any(
            name == "train automl" and said.startswith(f"best {best.metrics['score']:.5f} by linear 1; ")
            for name, said in told.said
        )
        notebook = workspace.tracking.read_text(RunId(best.id), "notebook.ipynb")
        printed = executed(workspace.home, notebook, tmp_path)
        assert f"score {best.metrics['score']!r}, the trial {best.metrics['score']!r}: the same" in printed
        exploration = workspace.tracking.read_text(RunId(search.id), "exploration.ipynb")
        assert executed(workspace.home, exploration, tmp_path).count("image/png") >= 3
        assert "purchases" in workspace.tracking.read_text(RunId(search.id), "importance.csv")
