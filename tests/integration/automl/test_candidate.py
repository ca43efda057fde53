"""AutoML as a candidate: what it gives, and what is kept of its search."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest

import millrace as mr
from millrace.automl import again
from millrace.automl.folder import SearchFolder, tidy
from millrace.core.errors import InvalidState
from millrace.training.types import Track, TrainingData
from millrace.workspace import Workspace, open_workspace
from tests.integration.automl.ran_notebooks import names_after

_DAY = np.timedelta64(1, "D")
pytestmark = pytest.mark.slow


@dataclass
class Asked:
    """A home, a run of a candidate in it, and what it was told."""

    workspace: Workspace
    track: Track
    features: pd.DataFrame
    labels: np.ndarray
    said: list[str] = field(default_factory=list)

    def training(self, days: np.ndarray | None = None, *, seed: int = 0, threads: int = 1) -> TrainingData:
        times = None if days is None else np.datetime64("2025-01-01", "us") + days * _DAY
        track = replace(self.track, tell=self.said.append)
        return TrainingData(self.features, self.labels, seed=seed, threads=threads, track=track, times=times)

    @property
    def folder(self) -> SearchFolder:
        (found,) = self.track.folder.glob("*-1")
        return SearchFolder(found)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    rng = np.random.default_rng(3)
    features = pd.DataFrame({"spend": rng.exponential(50, 240), "visits": rng.poisson(4, 240).astype(float)})
    features["colour"] = np.array(["red", "green", None], dtype=object)[rng.integers(0, 3, 240)]
    features.loc[::9, "spend"] = np.nan
    chance = 1 / (1 + np.exp(-(features.visits - 4 + (features.colour == "red"))))
    labels = (rng.random(240) < chance).astype(int).to_numpy()
    with contextlib.closing(open_workspace(tmp_path / "home")) as workspace:
        run = workspace.tracking.start("churn", "automl", {})
        yield Asked(workspace, Track(tmp_path / "kept", workspace.tracking, "churn", run), features, labels)


@pytest.mark.parametrize(
    ("days", "in_time"),
    [
        (None, False),
        (np.arange(240) % 100, True),
        (np.maximum(np.arange(240) - 150, 0), False),  # most rows are of the first day
        (np.maximum(np.arange(240), 230), False),  # and of the last
    ],
    ids=["no times", "even", "a backfill", "one day"],
)
def test_as_a_candidate_it_is_one_model_that_is_given_again_to_the_bit(
    asked: Asked, days: np.ndarray | None, *, in_time: bool
) -> None:
    """Where the rows have enough times, folds follow them."""
    candidate = mr.AutoML(minutes=5, max_trials=3)
    first, second = candidate.fit(asked.training(days)), candidate.fit(asked.training(days))
    nested = [one for one in asked.workspace.tracking.list("churn") if "mlflow.parentRunId" in one.tags]
    assert [one.tags["mlflow.parentRunId"] for one in nested] == [asked.track.run] * 3
    # In time the folds' models are old, so that the final one is fitted once more.
    assert (asked.folder.state()["final"]["kind"] == "refit") is in_time
    assert list(first.classes_) == [0, 1]  # type: ignore[attr-defined]
    assert (shares_of(first, asked) == shares_of(second, asked)).all()


def test_a_later_run_that_takes_the_same_search_names_it_so_that_its_trials_are_found(asked: Asked) -> None:
    candidate, tracking = mr.AutoML(minutes=5, max_trials=2), asked.workspace.tracking
    candidate.fit(asked.training())
    later = tracking.start("churn", "automl", {})
    candidate.fit(replace(asked.training(), track=replace(asked.track, run=later)))
    named = {one.id for one in tracking.list("churn") if one.tags.get("millrace.automl") == asked.folder.id}
    trials = {one.id for one in tracking.list("churn") if one.tags.get("mlflow.parentRunId") == asked.track.run}
    assert len(trials) == 2
    assert named == trials | {str(asked.track.run), str(later)}


def test_what_was_used_before_it_was_killed_counts(asked: Asked) -> None:
    """As far as the search can see, a progress that fails kills it."""

    def ends(said: str) -> None:
        asked.said.append(said)
        raise EOFError

    training = replace(asked.training(), track=replace(asked.track, tell=ends))
    for _ in range(2):
        with pytest.raises(EOFError):
            mr.AutoML(minutes=5).fit(training)
        assert asked.folder.state()["used_s"] > 0
        asked.folder.keep_state(used_s=200.0)
    left = [float(said.split("; ")[1].removesuffix(" s left")) for said in asked.said]
    assert 0.0 < left[1] <= 100.0 < left[0]


@pytest.mark.openmp
def test_what_is_kept_of_it_is_what_is_kept_of_any_search(asked: Asked) -> None:
    candidate = mr.AutoML(minutes=5, max_trials=3)
    candidate.fit(asked.training())
    tracking, run = asked.workspace.tracking, asked.track.run
    assert run is not None
    lines = list(csv.DictReader(io.StringIO(tracking.read_text(run, "importance.csv"))))
    assert {line["column"] for line in lines} == {"spend", "visits", "colour"}
    assert lines[0]["column"] == "visits"
    assert tracking.read_text(run, "importance.svg").startswith("<svg")
    assert "what knows too much" in tracking.read_text(run, "exploration.ipynb").lower()
    trials = [one for one in tracking.list("churn") if one.tags.get("mlflow.parentRunId") == run]
    assert {trial.name for trial in trials} == {"dummy 0", "linear 1", "lightgbm 2"}
    for trial in trials:
        assert names_after(tracking.read_text(trial.id, "notebook.ipynb"))["found"] == trial.metrics["score"]
    best = max(trials, key=lambda trial: -trial.metrics["score"])
    assert asked.said[-1].startswith(f"best {best.metrics['score']:.5f} by {best.name}; ")
    assert not asked.folder.job.exists()  # the rows are kept once


@pytest.mark.parametrize("days", [None, np.arange(240) % 100], ids=["folds", "in time"])
def test_a_model_whose_parts_were_tidied_away_is_fitted_again_to_the_bit(asked: Asked, days: np.ndarray | None) -> None:
    candidate = mr.AutoML(minutes=5, max_trials=3)
    first, kept = candidate.fit(asked.training(days)), asked.folder
    os.utime(kept.path / "state.json", (1, 1))  # what follows may come in the same tick of the system's clock
    for number in range(5):
        later = SearchFolder(asked.track.folder / f"later-{number}")
        later.path.mkdir()
        later.finish()
    candidate.fit(asked.training(days, seed=1))
    assert not list(kept.path.glob("models/*"))
    again = candidate.fit(asked.training(days, threads=2))
    assert list(kept.path.glob("models/*"))
    assert (shares_of(first, asked) == shares_of(again, asked)).all()


def test_a_model_that_is_asked_for_again_is_the_last_to_be_tidied_away(asked: Asked) -> None:
    candidate = mr.AutoML(minutes=5, max_trials=2)
    candidate.fit(asked.training())
    kept = asked.folder.path
    os.utime(kept / "state.json", (1, 1))
    later = [SearchFolder(asked.track.folder / f"later-{number}") for number in range(6)]
    for number, folder in enumerate(later):
        folder.path.mkdir()
        folder.finish()
        os.utime(folder.path / "state.json", (2 + number, 2 + number))
    candidate.fit(asked.training())
    tidy(asked.track.folder, later[-1])
    assert list(kept.glob("models/*"))


def test_a_part_that_another_search_removes_meanwhile_is_never_left_out(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = mr.AutoML(minutes=5, max_trials=2)
    candidate.fit(asked.training())
    trial, fold = asked.folder.state()["parts"][1]
    shutil.rmtree(asked.folder.path / "models")
    fit = again._fit

    def removed(*given: Any) -> None:
        fit(*given)
        asked.folder.model(trial, fold).unlink()

    monkeypatch.setattr(again, "_fit", removed)
    with pytest.raises(InvalidState, match="were removed while they were read"):
        candidate.fit(asked.training())
    monkeypatch.undo()
    assert len(candidate.fit(asked.training()).estimators_) == 10  # type: ignore[attr-defined]


def test_where_a_part_can_not_be_fitted_again_the_rows_are_not_kept_twice(asked: Asked) -> None:
    candidate = mr.AutoML(minutes=5, max_trials=2)
    candidate.fit(asked.training())
    shutil.rmtree(asked.folder.path / "models")
    for kept in asked.folder.path.glob("trials/*.json"):
        kept.write_text(json.dumps(json.loads(kept.read_text()) | {"estimator": "sklearn.dummy.Nobody"}))
    with pytest.raises(InvalidState, match="could not be fitted again"):
        candidate.fit(asked.training())
    assert not asked.folder.job.exists()


def shares_of(model: object, asked: Asked) -> np.ndarray:
    return np.asarray(model.predict_proba(asked.features))  # type: ignore[attr-defined]
