"""The example project as a job: from what arrives in the lake to the alert on drift, a notebook for each step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from millrace.api.discovery import running_server
from millrace.notebooks.check import check_notebook
from millrace.notebooks.read import read_notebook
from millrace.tasks.declared import declared_jobs
from millrace.workspace import open_workspace

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "churn"
_STEPS = ("land", "features", "labels", "train", "validate", "staging", "production", "score", "monitor", "alert")
_PATIENCE_S = 1100


def millrace(folder: Path, *words: str) -> dict[str, Any]:
    """What a command prints with --json."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-m", "millrace.cli.main", *words, "--json"],
        cwd=folder,
        env=ours | {"MILLRACE_HOME": str(folder / ".millrace")},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_job_goes_from_the_lake_to_the_alert_on_drift(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "churn")
    folder = tmp_path / "churn"
    assert millrace(folder, "job", "apply", "jobs.py")["jobs"] == [{"name": "churn", "change": "created"}]
    shown = millrace(folder, "job", "show", "churn")
    assert "0 0 6 * * ?" in json.dumps(shown)
    # Seven weeks after the shop's customers have changed (docs/shop.md): the model knows only the time before.
    run = millrace(folder, "job", "run", "churn", "--param", "today=2025-04-07")
    assert run["state"]["result_state"] == "SUCCESS"
    kept = {path.stem: path for path in (folder / ".millrace").rglob("*.ipynb") if path.stem in _STEPS}
    assert sorted(kept) == sorted(_STEPS)
    said = {step: _exited(path) for step, path in kept.items()}
    assert said["train"] in {"xgboost", "linear"}
    assert said["validate"] == "passed"
    assert said["staging"] == "version 1 answers as the batch does"
    assert said["production"] == "version 1 is in production"
    assert said["alert"] == "DRIFT_DETECTED"
    drift = kept["monitor"].read_text()
    assert "2025-02-10 ok" in drift
    assert "2025-03-03 drift" in drift
    assert "churn-drift" in json.dumps(millrace(folder, "alert", "list"))
    # A notebook alone, in the same home: nothing is computed twice.
    again = millrace(folder, "exec", "notebooks/features.py", "--param", "today=2025-04-07")
    assert again["exit_value"] == "up to date"


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_at_six_the_job_runs_by_itself(tmp_path: Path) -> None:
    """As it is declared, under a running server: the first morning, on which the shop's first rows arrive."""
    shutil.copytree(EXAMPLE, tmp_path / "churn")
    folder, six = tmp_path / "churn", datetime(2025, 1, 6, 6, tzinfo=UTC)
    workspace = open_workspace(folder / ".millrace")
    workspace.clock.set(six - timedelta(minutes=1))
    millrace(folder, "job", "apply", "jobs.py")
    with running_server(workspace.home):
        assert millrace(folder, "job", "runs", "churn")["runs"] == []
        workspace.clock.set(six + timedelta(seconds=1))
        until = time.monotonic() + _PATIENCE_S
        while not (runs := workspace.jobs.runs.list("churn")) or not runs[0].is_over:
            assert time.monotonic() < until
            time.sleep(0.2)
    (run,) = runs
    workspace.close()
    assert (run.trigger, run.due, run.result_state) == ("PERIODIC", six, "SUCCESS"), run.state_message
    kept = {path.stem: path for path in (folder / ".millrace").rglob("*.ipynb") if path.stem in _STEPS}
    assert sorted(kept) == sorted(_STEPS)
    assert "to be landed up to 2025-01-06" in kept["land"].read_text()
    assert _exited(kept["production"]) == "version 1 is in production"


def test_its_notebooks_can_run_and_its_job_is_one() -> None:
    for path in sorted((EXAMPLE / "notebooks").glob("*.py")):
        check_notebook(path, read_notebook(path))
    (job,) = declared_jobs(EXAMPLE / "jobs.py")
    assert [task.task_key for task in job.tasks if task.task_key != "passed"] == list(_STEPS)


def _exited(path: Path) -> str:
    outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]
    texts = ["".join(output.get("data", {}).get("text/plain", [])) for output in outputs]
    return next((text.removeprefix("Notebook exited: ") for text in texts if text.startswith("Notebook exited: ")), "")
