"""Trials' notebooks run, and give what scikit-learn gives by hand; the exploration notebook finds what was planted."""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat  # noqa: TID253 - this is what is tested
import numpy as np
import pandas as pd  # noqa: TID253
import pytest

from millrace.automl.notebooks import Notebook, exploration_notebook, trial_notebook
from millrace.automl.types import Column, Dataset, Preparation, Problem, Search, SplitPlan, Trial
from millrace.core.errors import InvalidInput

ROWS = 240


@dataclass(frozen=True)
class Ran:
    """A notebook's names after its last cell, and what it printed."""

    names: dict[str, Any]
    printed: str


def run(notebook: Notebook) -> Ran:
    """Run the cells in this process, as a kernel would."""
    printed, names = io.StringIO(), {"display": lambda *_: None}
    with contextlib.redirect_stdout(printed):
        for cell in notebook.cells:
            if cell.kind == "code":
                exec(compile(cell.text, "cell", "exec"), names)  # noqa: S102 - our own cells
    return Ran(names, printed.getvalue())


def frame(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    made = pd.DataFrame({"amount": rng.normal(size=ROWS), "orders": rng.integers(0, 9, ROWS)})
    made["region"] = rng.choice(np.array(["north", "south", None], dtype=object), ROWS)
    made["since"] = pd.date_range("2024-01-01", periods=ROWS, freq="5h", tz="UTC")
    made.loc[7, "amount"] = np.nan
    made.loc[9, "amount"] = np.inf
    made["lost"] = np.where(made["orders"] + rng.normal(size=ROWS) > 4, "stayed", "lost")
    return made


COLUMNS = (
    Column("amount", "float64", "number", "number", missing=2, infinite=1, distinct=ROWS - 2),
    Column("orders", "int64", "number", "number", distinct=9),
    Column("region", "string", "category", "one_hot", missing=80, distinct=2),
    Column("since", "timestamp[us, tz=UTC]", "date", "date", distinct=ROWS),
)
SCALED = Preparation(("amount", "orders"), ("since",), (("region", ("north", "south")),), scale=True)
PROBLEM = Problem(
    "classification", "lost", "log_loss", higher_is_better=False, classes=("lost", "stayed"), positive="lost"
)


def search(folder: Path, rows: pd.DataFrame, **changes: Any) -> Search:
    path = folder / "rows.parquet"
    rows.to_parquet(path)
    made = Search(
        "s1",
        PROBLEM,
        Dataset("customers", len(rows), COLUMNS, path=str(path)),
        SplitPlan("stratified", 3, 2, seed=5),
        60,
        0,
        1,
    )
    return replace(made, **changes)


def linear(**changes: Any) -> Trial:
    params = {"C": 0.5, "max_iter": 300, "random_state": 0}
    made = Trial(4, "linear", "sklearn.linear_model.LogisticRegression", params, SCALED, "done")
    return replace(made, **changes)


def by_hand(rows: pd.DataFrame) -> list[float]:
    """The same in other words: log-loss of the logistic regression on each fold."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    since = rows["since"].dt
    numbers = np.column_stack(
        [
            rows["amount"].replace(np.inf, np.nan),
            rows["orders"],
            (rows["since"] - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta("1D"),
            *(getattr(since, part) for part in ("year", "month", "day", "day_of_week", "hour")),
        ]
    )
    texts = np.column_stack([rows["region"] == "north", rows["region"] == "south"])
    target, scores = (rows["lost"] == "stayed").to_numpy(), []
    for seed in (5, 6):
        for fit, judge in StratifiedKFold(3, shuffle=True, random_state=seed).split(numbers, target):
            filled = np.where(np.isnan(numbers), np.nanmedian(numbers[fit], axis=0), numbers)
            spread = filled[fit].std(axis=0)
            scaled = (filled - filled[fit].mean(axis=0)) / np.where(spread == 0, 1, spread)
            inputs = np.hstack([scaled, texts])
            model = LogisticRegression(C=0.5, max_iter=300).fit(inputs[fit], target[fit])
            scores.append(float(log_loss(target[judge], model.predict_proba(inputs[judge]))))
    return scores


class TestTrial:
    def test_it_gives_what_scikit_learn_gives_by_hand(self, tmp_path: Path) -> None:
        rows = frame()
        ran = run(trial_notebook(search(tmp_path, rows), linear()))
        assert list(ran.names["scores"].values()) == pytest.approx(by_hand(rows), abs=1e-6)

    def test_it_says_that_the_score_is_the_same_or_has_changed(self, tmp_path: Path) -> None:
        found = run(trial_notebook(search(tmp_path, frame()), linear())).names["found"]
        scores = dict.fromkeys(range(6), found)
        same = run(trial_notebook(search(tmp_path, frame()), linear(score=found, fold_scores=scores)))
        changed = run(trial_notebook(search(tmp_path, frame()), linear(score=found + 1e-6, fold_scores=scores)))
        assert same.printed.rstrip().endswith("the same")
        assert changed.printed.rstrip().endswith("changed")

    def test_a_pruned_trial_has_the_folds_that_it_came_to(self, tmp_path: Path) -> None:
        notebook = trial_notebook(search(tmp_path, frame()), linear(state="pruned", fold_scores={0: 0.5, 1: 0.6}))
        assert list(run(notebook).names["scores"]) == [0, 1]

    def test_many_categories_are_counted_instead_of_listed(self, tmp_path: Path) -> None:
        rows = frame()
        rows["region"] = [f"r{number % 70}" for number in range(ROWS)]
        known = tuple(sorted(set(rows["region"])))
        preparation = Preparation(("orders",), target=(("region", known),))
        columns = (COLUMNS[1], Column("region", "string", "high_cardinality", "target", distinct=70))
        made = search(tmp_path, rows)
        notebook = trial_notebook(
            replace(made, dataset=replace(made.dataset, columns=columns)), linear(preparation=preparation)
        )
        assert run(notebook).names["encoded"] == {"region": list(known)}
        assert "r69" not in notebook.source()

    def test_without_rows_there_is_no_notebook(self, tmp_path: Path) -> None:
        made = search(tmp_path, frame())
        with pytest.raises(InvalidInput, match="were not kept"):
            trial_notebook(replace(made, dataset=replace(made.dataset, path=None)), linear())


@pytest.mark.slow
class TestExploration:
    def test_it_finds_what_was_planted(self, tmp_path: Path) -> None:
        rows, rng = frame(), np.random.default_rng(1)
        rows["verdict"] = (rows["lost"] == "lost") + rng.normal(size=ROWS) * 0.01
        rows["closed_on"] = rng.normal(size=ROWS)
        rows.loc[rows["lost"] == "stayed", "closed_on"] = np.nan
        rows["customer_id"] = rng.integers(0, 60, ROWS)
        again = [name for name in rows if name != "customer_id"]
        half = pd.concat([rows[again].head(ROWS // 2)] * 2, ignore_index=True)
        rows = half.assign(customer_id=rows["customer_id"])
        added = [Column(name, "float64", "number", "number") for name in ("verdict", "closed_on")]
        added.append(Column("customer_id", "int64", "id", "drop", why="excluded"))
        made = search(tmp_path, rows)
        found = run(
            exploration_notebook(replace(made, dataset=replace(made.dataset, columns=(*COLUMNS, *added))))
        ).names["found"]
        why = found.groupby("column")["why"].agg(" ".join)
        assert set(why.index) == {"verdict", "closed_on", "customer_id", "(rows)"}
        assert "by itself" in why["verdict"]
        assert "afterwards" in why["closed_on"]
        assert "group the folds" in why["customer_id"]

    def test_a_kernel_runs_it_and_nothing_honest_is_suspected(self, tmp_path: Path) -> None:
        from nbclient import NotebookClient
        from traitlets.config import Config

        made = nbformat.reads(exploration_notebook(search(tmp_path, frame())).ipynb(), as_version=4)
        with tempfile.TemporaryDirectory() as short:  # a socket's path may not be long
            sockets = Config({"KernelManager": {"transport": "ipc", "ip": f"{short}/k"}})  # ports can be taken
            NotebookClient(made, config=sockets, timeout=240, startup_timeout=240).execute()
        outputs = [output for cell in made.cells for output in cell.get("outputs", [])]
        assert sum("image/png" in output.get("data", {}) for output in outputs) >= 6
        assert "Nothing smells of leakage." in outputs[-2]["text"]
