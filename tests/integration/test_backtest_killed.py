"""`millrace backtest`, killed with SIGKILL at many points: it goes on where it was, and finds the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.workspace import open_workspace

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

DAY, WEEK = timedelta(days=1), timedelta(days=7)
START = datetime(2025, 1, 6, tzinfo=UTC)
_PATIENCE_S = 600
_PAGE = """
from datetime import UTC, datetime, timedelta

import millrace as mr
from pyspark.sql import functions as F

WEEK, START = timedelta(days=7), datetime(2025, 1, 6, tzinfo=UTC)
tx = mr.Source("bronze.tx", event_time="at")
spend = mr.Windows(tx, keys=["k"], n=mr.Count(days=28), total=mr.Sum("amount", days=28))
features = mr.window_table("ml.features.spend", spend, every=WEEK, start=START)


@mr.label_table("ml.labels.left", keys=["k"], column="left", horizon=2 * WEEK, every=WEEK, start=START)
def labels(time, end, rows=tx):
    seen = rows.where(F.col("at") > F.lit(time - 4 * WEEK)).groupBy("k").agg(F.min("at").alias("first"), F.max("at").alias("last"))
    return seen.where(F.col("first") <= F.lit(time)).select("k", (F.col("last") <= F.lit(time)).cast("int").alias("left"))


often = mr.Retrain(on=(), every=3 * WEEK, cooldown=timedelta(0), min_new_labels=1)
pipeline = mr.Pipeline(
    name="shop",
    features=[features],
    label=labels,
    split=mr.Split(holdout=WEEK),
    candidates=[mr.Linear(), mr.Dummy()],
    gates=[mr.BeatsChampion(significant=False)],
    monitor=mr.Monitor(granularity="1 week"),
)
"""
_TIMES = {"seconds"}  # of a machine, not of what was found


@dataclass(frozen=True)
class Home:
    path: Path
    page: Path

    @property
    def command(self) -> list[str]:
        start = [
            sys.executable,
            "-m",
            "millrace.cli.main",
            "backtest",
            str(self.page),
            "--home",
            str(self.path),
            "--json",
        ]
        return [
            *start,
            "--from",
            "2025-02-17",
            "--to",
            "2025-05-26",
            "--step",
            "7d",
            "--policy",
            "never",
            "--policy",
            "often",
        ]

    @property
    def kept(self) -> Path:
        (folder,) = (self.path / "backtests").iterdir()
        return folder

    def found(self) -> dict[str, Any]:
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, env=_ENV)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def killed(self, after_s: float) -> bool:
        """Run it for a while, and until it has begun to keep something; whether it was killed before it came to its end."""
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_ENV)
        until = time.monotonic() + after_s
        while process.poll() is None and not (time.monotonic() > until and self._keeps_something()):
            time.sleep(0.02)
        process.kill()
        return process.wait() == -signal.SIGKILL

    def _keeps_something(self) -> bool:
        return any({*files} - {"lock"} for _, _, files in os.walk(self.path / "backtests"))


_ENV = os.environ | {"MILLRACE_THREADS": "1"}


def make_home(folder: Path) -> Home:
    """150 customers who buy every few days, some of whom leave."""
    rng, rows = np.random.default_rng(3), []
    for key in range(150):
        at, leaves, pace = rng.uniform(0, 20), rng.exponential(90), rng.uniform(2, 6)
        while at < min(leaves, 140):
            rows.append({"k": key, "at": START - 5 * WEEK + at * DAY, "amount": float(rng.integers(1, 50))})
            at += rng.exponential(pace)
        if key % 3 == 0:
            rows.append({"k": key, "at": START + 15 * WEEK, "amount": 1.0})
    workspace = open_workspace(folder / "home")
    schema = pa.schema([("k", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("amount", pa.float64())])
    workspace.clock.set(START + 21 * WEEK)
    workspace.lake.create("bronze.tx", schema)
    workspace.lake.append("bronze.tx", pa.Table.from_pylist(rows, schema))
    workspace.close()
    page = folder / "pipeline.py"
    page.write_text(_PAGE)
    return Home(folder / "home", page)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, dict[str, Any], float]:
    """A backtest that nobody disturbed, what it found, and how long it took."""
    home = make_home(tmp_path_factory.mktemp("whole"))
    begun = time.monotonic()
    found = home.found()
    return home, found, time.monotonic() - begun


def without_times(value: Any) -> Any:
    """The same without what a machine's speed decides, and where it lies."""
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in {*_TIMES, "report"}}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def test_it_trains_and_compares(whole: tuple[Home, dict[str, Any], float]) -> None:
    never, often = whole[1]["policies"]
    assert never["cost"]["trainings"] == 0
    assert often["cost"]["trainings"] >= 3
    assert often["quality"][5]["loss"] is not None
    assert Path(whole[1]["report"]).read_text().startswith("<!doctype html>")


def test_killed_again_and_again_it_finds_the_same(whole: tuple[Home, dict[str, Any], float], tmp_path: Path) -> None:
    _, found, took = whole
    home = make_home(tmp_path)
    rng = np.random.default_rng(11)
    # The first try is killed in any case, however long the whole one happened to take.
    assert home.killed(0.0)
    # Each other is given a little more than it takes to start, so that each gets somewhere, and is killed somewhere else.
    for number in range(12):
        if not home.killed(took * (0.35 + 0.05 * number) * rng.uniform(0.8, 1.2)):
            break
    again = home.found()
    assert json.dumps(without_times(again)) == json.dumps(without_times(found))
    assert not list(home.kept.rglob("*.part"))


def test_a_finished_one_answers_at_once_and_computes_nothing(whole: tuple[Home, dict[str, Any], float]) -> None:
    home, found, _ = whole
    before = {
        path: path.stat().st_mtime_ns
        for path in home.kept.rglob("*")
        if path.is_file() and "home/" not in str(path.relative_to(home.kept))
    }
    assert home.found() == found
    changed = [path.name for path, at in before.items() if path.stat().st_mtime_ns != at]
    assert [name for name in changed if not name.startswith("report")] == []


def test_production_is_not_touched(whole: tuple[Home, dict[str, Any], float]) -> None:
    home = whole[0]
    assert sorted(
        path.name for path in (home.path / "warehouse").rglob("*") if path.name in {"tx", "spend", "left"}
    ) == ["tx"]
    workspace = open_workspace(home.path)
    try:
        assert workspace.lake.pin("bronze.tx").version == 1
        assert [str(entry.name) for entry in workspace.lake.catalog.list()] == ["bronze.tx"]
        assert workspace.runs.runs("shop", limit=5) == []
        assert workspace.promotions.read() == []
    finally:
        workspace.close()
    assert not (home.path / "mlflow.db").exists()
