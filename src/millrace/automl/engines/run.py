"""A search by FLAML or AutoGluon over the same rows, as it would be by our own."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from millrace.automl.ask import Asked
from millrace.automl.engines.find import Engine, installing, interpreter
from millrace.automl.engines.model import EngineModel, last_words, packed, started
from millrace.automl.rows import Rows
from millrace.automl.run import Found
from millrace.automl.splits import folds_of
from millrace.automl.types import Final, Latency, Member, Preparation, Search, Trial
from millrace.core.clock import Clock
from millrace.core.errors import InvalidInput, InvalidState

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_UNKNOWN: Mapping[Engine, tuple[str, ...]] = {"flaml": ("brier", "precision", "recall"), "autogluon": ("brier",)}
_TARGET, _WEIGHT = "__target__", "__weight__"
_ENDING_S, _MOST_ENDING = 2.0, 0.1
_MORE_S, _MORE = 30.0, 0.5


def run_engine(
    engine: Engine,
    asked: Asked,
    *,
    search_id: str,
    home: Path,
    budget_s: float,
    threads: int,
    seed: int,
    latency: Latency,
    clock: Clock,
) -> Found:
    """Search with an engine.

    It chooses its own preparation, folds and models. Where folds follow a column, it is given the rows of the last fold to judge on. The score that
    is told is the engine's own, of rows that judged its models. An engine takes its time as a wish: it is only
    stopped when it takes half as much again, and at least half a minute more.

    Args:
        engine: which.
        asked: rows, problem, split.
        search_id: names the search.
        home: where the engine's environment is looked for, and where it works.
        budget_s: the time for all of it.
        threads: how many it may use.
        seed: for every random choice that it lets be seeded.
        latency: `low` asks AutoGluon for its medium quality, which is one layer of models without bagging.
        clock: for the times in records.

    Raises:
        NotFound: it is not installed; the hint says how.
        InvalidInput: it can't aim at this metric.
        InvalidState: it failed, or found nothing in that time.
    """
    problem = asked.job.problem
    if problem.metric in _UNKNOWN[engine]:
        raise InvalidInput(
            f"{engine} can't aim at {problem.metric}", hint="give log_loss, or search with our own engine"
        )
    python = interpreter(engine, home)
    begun, started_at = time.monotonic(), clock.now()
    (home / "automl").mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{engine}-", dir=home / "automl") as place:
        folder = Path(place)
        # Of the machine's clock, which the engine's process shares: however long its imports take, it ends in time.
        ends_at = begun + budget_s - min(_ENDING_S, _MOST_ENDING * budget_s)
        task = _task(engine, asked, ends_at, threads=threads, seed=seed, latency=latency)
        (folder / "task.json").write_text(json.dumps(task))
        _write_rows(asked, folder, flipped=task["flipped"])
        _fit(engine, python, folder, budget_s)
        found: dict[str, Any] = json.loads((folder / "found.json").read_text())
        model = EngineModel(engine, str(python), task, packed(folder / "result"), problem.classes)
    trials = [_trial(engine, number, each, started_at) for number, each in enumerate(_best_first(found))]
    final = Final("refit", (Member(0, 1.0),), found["score"], f"what {engine} found best: {found['best']}")
    search = Search(
        search_id, problem, asked.dataset, asked.job.plan, budget_s, seed, threads, tuple(trials), final=final
    )
    return Found(replace(search, seconds=time.monotonic() - begun), model)


def _task(engine: Engine, asked: Asked, ends_at: float, *, threads: int, seed: int, latency: Latency) -> dict[str, Any]:
    problem, features = asked.job.problem, asked.job.rows.features
    kinds = {
        name: {"f": "float64", "M": "datetime64[us]"}.get(kind.kind, "object") for name, kind in features.dtypes.items()
    }
    return {
        "engine": engine,
        "task": problem.task,
        "metric": problem.metric,
        "classes": len(problem.classes),
        # Engines look for the second of two classes.
        "flipped": problem.positive is not None and problem.classes.index(problem.positive) == 0,
        "inputs": list(features.columns),
        "kinds": kinds,
        "texts": [name for name, kind in kinds.items() if kind == "object"],
        "times": [name for name, kind in kinds.items() if kind == "datetime64[us]"],
        "ends_at": ends_at,
        "threads": threads,
        "seed": seed,
        "preset": "medium_quality" if latency == "low" else "best_quality",
    }


def _write_rows(asked: Asked, folder: Path, *, flipped: bool) -> None:
    job = asked.job
    if job.plan.kind in {"stratified", "random"}:
        _frame(job.rows, flipped=flipped).to_parquet(folder / "train.parquet")
        return
    fit, judge = folds_of(job.plan, job.problem.task, job.rows)[-1]
    _frame(job.rows, fit, flipped=flipped).to_parquet(folder / "train.parquet")
    _frame(job.rows, judge, flipped=flipped).to_parquet(folder / "judge.parquet")


def _frame(rows: Rows, places: np.ndarray | None = None, *, flipped: bool) -> pd.DataFrame:
    frame = rows.features.assign(**{_TARGET: 1 - rows.target if flipped else rows.target})
    if rows.weights is not None:
        frame[_WEIGHT] = rows.weights
    return frame if places is None else frame.iloc[places].reset_index(drop=True)


def _fit(engine: Engine, python: Path, folder: Path, budget_s: float) -> None:
    process = started(python, "fit", folder)
    try:
        code = process.wait(budget_s + max(_MORE_S, _MORE * budget_s))
    except subprocess.TimeoutExpired as error:
        raise InvalidState(
            f"{engine} did not end by itself in {budget_s:g} s and half as much again", hint="give it more minutes"
        ) from error
    finally:
        # Whatever ended the wait: neither it nor what it started goes on.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
    if code != 0 or not (folder / "found.json").exists():
        words = last_words(folder)
        hint = "with too little time for a first model it fails: give it more minutes"
        if words.startswith("ModuleNotFoundError"):
            hint = f"its environment is not whole: {installing(engine, python.parent.parent)}"
        raise InvalidState(f"{engine} failed ({code}): {words}", hint=hint)


def _best_first(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = found["models"]
    best = next((each for each in models if each["name"] == found["best"]), {"name": found["best"], "params": {}})
    return [
        {**best, "score": found["score"], "seconds": found["seconds"]},
        *(each for each in models if each is not best),
    ]


def _trial(engine: Engine, number: int, told: Mapping[str, Any], started_at: Any) -> Trial:
    score = told.get("score")
    return Trial(
        number=number,
        family=engine,
        estimator=f"{engine}: {told['name']}",
        params=told.get("params", {}),
        preparation=Preparation(),
        state="done",
        score=math.nan if score is None else float(score),
        seconds=float(told.get("seconds", 0.0)),
        started_at=started_at,
    )
