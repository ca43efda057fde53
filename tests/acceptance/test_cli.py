"""The command line as a process: how fast it answers, what it imports, and how it says no."""

from __future__ import annotations

import compileall
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import millrace

pytestmark = pytest.mark.slow

HEAVY = ("pandas", "pyspark", "pysail", "mlflow", "duckdb", "xgboost", "lightgbm", "sklearn", "scipy", "pyarrow", "numpy", "deltalake", "lmdb", "apprise", "sqlalchemy")  # fmt: skip
HELP_S = 0.5
# A bare interpreter at work, and what it takes where `millrace --help` takes 0.25 s. Where it takes longer, all does, and help may.
# One that only starts would be too short for a busy machine to interrupt.
_BARE, _BARE_S = ("-I", "-c", "for _ in range(8_000_000): pass"), 0.24
PAGE = """
from datetime import timedelta

import millrace as mr
from pyspark.sql import functions as F

purchases = mr.Source("bronze.purchases", event_time="at")


@mr.feature_table("ml.features.shop", keys=["customer_id"], every=timedelta(days=7))
def features(as_of, tx=purchases):
    return tx.groupBy("customer_id").agg(F.count("*").alias("purchases"))


@mr.label_table("ml.labels.shop", keys=["customer_id"], column="churned", horizon=timedelta(days=7), every=timedelta(days=7))
def labels(time, end, tx=purchases):
    return tx.select("customer_id").distinct().select("customer_id", F.lit(1).alias("churned"))


pipeline = mr.Pipeline(
    name="shop", features=[features], label=labels, candidates=[mr.Linear(), mr.Dummy()], gates=[mr.BeatsBaselines()],
    split=mr.Split(holdout=timedelta(days=7)),
)
"""


def _environment() -> dict[str, str]:
    """As a user has it: with compiled modules."""
    return {
        name: value for name, value in os.environ.items() if name not in {"PYTHONDONTWRITEBYTECODE", "MILLRACE_HOME"}
    }


def _python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _millrace(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return _python("-m", "millrace.cli.main", *map(str, arguments), cwd=folder)


def _refused(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The error of a command that could not be done: one message, a hint, and nothing on standard output."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    error = done.stderr[done.stderr.index("error: ") :]
    assert error.count("error: ") == error.count("\n  hint: ") == 1
    assert "Traceback" not in error
    return error


def _import(folder: Path, rows: Sequence[str]) -> None:
    (folder / "purchases.csv").write_text("\n".join(["customer_id,at", *rows]) + "\n")
    done = _millrace(folder, "table", "import", "bronze.purchases", "purchases.csv", "--replace", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == len(rows)


@pytest.mark.alone
def test_help_answers_in_half_a_second() -> None:
    compileall.compile_dir(str(Path(millrace.__file__).parent), quiet=2)
    command = Path(sys.executable).with_name("millrace")
    assert command.is_file()
    took, bare = [], []
    for _ in range(10):
        seconds, said = _timed(command, "--help")
        assert "quickstart" in said
        took.append(seconds)
        bare.append(_timed(sys.executable, *_BARE)[0])
    assert min(took) < HELP_S * max(1.0, min(bare) / _BARE_S), (min(took), min(bare))


def _timed(*command: str | Path) -> tuple[float, str]:
    """How many seconds it takes, and what it says."""
    begun = time.perf_counter()
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=True)
    return time.perf_counter() - begun, done.stdout


@pytest.mark.parametrize(
    "program",
    ["import millrace", "from millrace.cli.main import main; assert main(['--help']) == 0", "import millrace as mr; mr.Source, mr.Pipeline, mr.XGBoost, mr.AtLeast, mr.FeatureLookup"],
    ids=["import", "help", "a declaration"],
)  # fmt: skip
def test_no_heavy_library_is_imported_before_it_is_needed(program: str) -> None:
    done = _python("-c", f"import sys\n{program}\nprint('LOADED', *sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.rpartition("LOADED")[2].split()
    found = {name.partition(".")[0] for name in loaded} & set(HEAVY)
    assert found <= ({"numpy"} if "mr.AtLeast" in program else set())


def test_a_training_set_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(PAGE)
    _import(tmp_path, [f"{n},2025-03-{n:02}T00:00:00Z" for n in range(1, 9)])
    error = _refused(_millrace(tmp_path, "run", "--as-of", "2025-03-09"))
    assert "no label of ml.labels.shop is known at 2025-03-09" in error
    error = _refused(_millrace(tmp_path, "run", "--as-of", "2025-03-12"))
    assert "the training set is empty" in error


def test_a_label_table_with_one_class(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(PAGE)
    _import(tmp_path, [f"{n},2025-03-{n:02}T00:00:00Z" for n in range(1, 9)])
    error = _refused(_millrace(tmp_path, "run", "--as-of", "2025-04-20"))
    assert "labels are 1" in error or "is 1 in all" in error
    status = _millrace(tmp_path, "status", "--json")
    assert json.loads(status.stdout)["production"] == []


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = _refused(_millrace(tmp_path, "up", "--port", port))
    assert str(port) in error


def test_what_was_typed_wrong(tmp_path: Path) -> None:
    assert "status" in _refused(_millrace(tmp_path, "sttaus"), 2)
    _refused(_millrace(tmp_path, "run", "--as-off", "2025-01-01"), 2)
    _refused(_millrace(tmp_path, "run"), 1)
