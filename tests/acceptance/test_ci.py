"""A generated CI pipeline, lived through in a scratch repository: its own commands, stage by stage, as the CI system runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow.csv
import pytest
import yaml  # type: ignore[import-untyped]

from tests.integration.test_pipeline_run import PAGE, purchases_between
from tests.unit.ci.test_providers import check, scripts

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

BIN = Path(sys.executable).parent
TOML = """
[project]
tests = "pytest -q -p no:cacheprovider"
[targets.dev]
home = "homes/dev"
[targets.prod]
home = "homes/prod"
approval = true
"""
TEST = "def test_the_pipeline_loads():\n    import pipeline\n    assert pipeline.pipeline.name == 'shop'\n"


class Repository:
    """A project in a repository, and a person who works in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(weeks=7)
        start = first - timedelta(days=first.weekday())  # a Monday
        page = PAGE.replace("datetime(2025, 3, 3, tzinfo=UTC)", f"datetime({start:%Y, %-m, %-d}, tzinfo=UTC)")
        files = {
            "pipeline.py": page.replace("THRESHOLD", "0.6"),
            "test_pipeline.py": TEST,
            "millrace.toml": TOML,
            "requirements.txt": "millrace\n",
            ".gitignore": "homes/\nci-reports/\n__pycache__/\npurchases.csv\n",
        }
        for name, text in files.items():
            (folder / name).write_text(text)
        rows = purchases_between(start - timedelta(weeks=3), start + timedelta(weeks=7), seed=1)
        pyarrow.csv.write_csv(rows, folder / "purchases.csv")
        self.git("init", "-q", "-b", "main")
        self.commit("a pipeline")

    def git(self, *arguments: str) -> str:
        ours = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
        return subprocess.run(
            ["git", *ours, *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", message)
        return self.git("rev-parse", "HEAD")

    def bash(self, script: str, variables: Mapping[str, str] | None = None, *, code: int = 0) -> str:
        ours = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MILLRACE_", "MLFLOW_", "GITHUB_"))
        }
        env = ours | {"PATH": f"{BIN}:{os.environ['PATH']}"} | dict(variables or {})
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == code, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def report(self, stage: str) -> Mapping[str, object]:
        found: dict[str, object] = json.loads((self.folder / "ci-reports" / f"{stage}.json").read_text())
        return found


def test_the_stages_of_a_generated_file_run_end_to_end(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.bash("millrace ci init --provider github")
    sha = repository.commit("CI")
    file = tmp_path / ".github" / "workflows" / "millrace.yml"
    check("github", file)
    commands = {
        job: line for job, line in scripts("github", yaml.safe_load(file.read_text())) if "millrace ci run" in line
    }
    assert list(commands) == ["test", "train", "validate", "deploy-prod"]
    _prepare(repository)
    told = _github(tmp_path)
    for job in ("test", "train", "validate"):
        repository.bash(commands[job], told)
        ET.parse(tmp_path / "ci-reports" / f"{job}.xml")  # noqa: S314 - our own
    assert repository.report("validate")["status"] == "passed"
    assert repository.report("train")["facts"] == {**repository.report("train")["facts"], "commit": sha, "version": "1"}  # type: ignore[dict-item]
    said = repository.bash(commands["deploy-prod"], told)
    assert "production is v1" in said
    log = json.loads(repository.bash("millrace log --home homes/prod --json"))["promotions"]
    assert [(move["alias"], move["version"]) for move in log] == [("production", "1")]
    assert (
        "approved by GitHub environment prod: run of octocat, https://github.example/ada/shop/actions/runs/7"
        in log[0]["why"]
    )
    summary = (tmp_path / "summary.md").read_text()
    assert summary.count("## ✅") == 4
    _twice_is_once(repository, commands, told)
    _what_is_not_committed_or_not_trained_goes_nowhere(repository, commands, told)


def _prepare(repository: Repository) -> None:
    """Data in both homes, and features in the one that no training fills."""
    for name in ("dev", "prod"):
        repository.bash(f"millrace table import bronze.purchases purchases.csv --home homes/{name}")
    repository.bash("millrace features refresh pipeline.py ml.features.shop --home homes/prod")
    repository.bash("millrace features publish ml.features.shop --home homes/prod")


def _github(folder: Path) -> dict[str, str]:
    run = {"GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "ada/shop", "GITHUB_RUN_ID": "7"}
    files = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "GITHUB_OUTPUT": str(folder / "values.txt")}
    return {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat", **run, **files}


def _twice_is_once(repository: Repository, commands: Mapping[str, str], told: Mapping[str, str]) -> None:
    assert "already" in repository.bash(commands["train"], told)
    repository.bash(commands["deploy-prod"], told)
    assert len(json.loads(repository.bash("millrace log --home homes/prod --json"))["promotions"]) == 1


def _what_is_not_committed_or_not_trained_goes_nowhere(
    repository: Repository, commands: Mapping[str, str], told: Mapping[str, str]
) -> None:
    page = repository.folder / "pipeline.py"
    page.write_text(page.read_text() + "# not committed\n")
    assert "files differ from commit" in repository.bash(commands["deploy-prod"], told, code=1)
    page.write_text(page.read_text().replace("roc_auc=0.6", "roc_auc=0.9999"))
    repository.commit("a bar that is too high")
    said = repository.bash(commands["validate"], told, code=1)
    assert "::error title=millrace validate::no version of ml.models.shop was trained from commit" in said
    assert repository.report("validate")["exit_code"] == 1
