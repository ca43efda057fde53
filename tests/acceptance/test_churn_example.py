"""The example project: from what arrives in the lake to the alert on drift, a notebook for each step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "churn"
_STEPS = ("land", "features", "labels", "train", "validate", "staging", "production", "score", "monitor", "alert")
_PATIENCE_S = 280


def execute(folder: Path, step: str, today: str) -> object:
    """One notebook by `millrace exec`; what it exited with."""
    command = [sys.executable, "-m", "millrace.cli.main", "exec", f"notebooks/{step}.py", "--param", f"today={today}"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "MLFLOW_"))}
    done = subprocess.run(
        [*command, "--json", "--output", f"executed/{today}/{step}.ipynb"],
        cwd=folder,
        env=ours | {"MILLRACE_HOME": str(folder / ".millrace")},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["exit_value"]


@pytest.mark.timeout(1200)
def test_the_notebooks_one_by_one_from_the_lake_to_the_alert_on_drift(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "churn")
    folder = tmp_path / "churn"
    said = {step: execute(folder, step, "2025-01-06") for step in _STEPS}
    assert said["train"] in {"xgboost", "linear"}
    assert said["validate"] == "passed"
    assert said["staging"] == "version 1 answers as the batch does"
    assert said["production"] == "version 1 is in production"
    assert said["alert"] == "NORMAL"
    # From 2025-02-17 on the shop's customers behave otherwise (docs/shop.md).
    later = {step: execute(folder, step, "2025-04-07") for step in ("land", "features", "labels", "score", "monitor")}
    assert later["score"] == "13"
    assert execute(folder, "alert", "2025-04-07") == "DRIFT_DETECTED"
    text = (folder / "executed" / "2025-04-07" / "monitor.ipynb").read_text()
    assert "2025-02-10 ok" in text
    assert "2025-03-03 drift" in text
    assert execute(folder, "features", "2025-04-07") == "up to date"
