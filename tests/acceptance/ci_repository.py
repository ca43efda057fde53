"""A project in a scratch repository, and two homes that it is brought from and to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.csv

from tests.integration.test_pipeline_run import PAGE, purchases_between

BIN = Path(sys.executable).parent
TOML = """
[project]
tests = "pytest -q -p no:cacheprovider"
[ci]
install = "test -s requirements.txt"
[targets.dev]
home = "{homes}/dev"
[targets.prod]
home = "{homes}/prod"
approval = true
"""
TEST = "def test_the_pipeline_loads():\n    import pipeline\n    assert pipeline.pipeline.name == 'shop'\n"
_THEIRS = ("MILLRACE_", "MLFLOW_", "GITHUB_", "GITLAB_", "CI_", "TF_", "BUILD_", "SYSTEM_", "AGENT_")
_PATIENCE_S = 400.0


@dataclass(frozen=True)
class Homes:
    """`dev` and `prod`, with purchases in both, and in the second the features that no training fills there.

    Attributes:
        page: of the pipeline whose features these are.
    """

    folder: Path
    page: str

    def log(self) -> list[Mapping[str, str]]:
        """Promotions in `prod`, newest first."""
        told = bash("millrace log --home prod --json", self.folder)
        found: list[Mapping[str, str]] = json.loads(told)["promotions"]
        return found

    def empty_prod(self) -> None:
        """As it was before anything came: a home knows its place, so that it is copied back to just that."""
        shutil.rmtree(self.folder / "prod", ignore_errors=True)
        subprocess.run(["cp", "-a", self.folder / "as-made", self.folder / "prod"], check=True)


def make_homes(folder: Path) -> Homes:
    """Make them; the pipeline's weeks end with the last one."""
    first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(weeks=7)
    start = first - timedelta(days=first.weekday())  # a Monday
    page = PAGE.replace("datetime(2025, 3, 3, tzinfo=UTC)", f"datetime({start:%Y, %-m, %-d}, tzinfo=UTC)")
    page = page.replace("THRESHOLD", "0.6")
    rows = purchases_between(start - timedelta(weeks=3), start + timedelta(weeks=7), seed=1)
    pyarrow.csv.write_csv(rows, folder / "purchases.csv")
    (folder / "pipeline.py").write_text(page)
    for name in ("dev", "prod"):
        bash(f"millrace table import bronze.purchases purchases.csv --home {name}", folder)
    bash("millrace features refresh pipeline.py ml.features.shop --home prod", folder)
    bash("millrace features publish ml.features.shop --home prod", folder)
    subprocess.run(["cp", "-a", folder / "prod", folder / "as-made"], check=True)
    return Homes(folder, page)


class Repository:
    """A project in a repository, or in a folder of it, and a person who works in it."""

    def __init__(self, top: Path, homes: Homes, folder: str = ".") -> None:
        self.top, self.folder = top, top / folder
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {
            "pipeline.py": homes.page,
            "test_pipeline.py": TEST,
            "millrace.toml": TOML.format(homes=homes.folder),
            "requirements.txt": "millrace\n",
            ".gitignore": "ci-reports/\n__pycache__/\n",
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self.git("init", "-q", "-b", "main")
        self.commit("a pipeline")

    def git(self, *arguments: str) -> str:
        ours = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
        done = subprocess.run(["git", *ours, *arguments], cwd=self.top, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", message)
        return self.git("rev-parse", "HEAD")

    def bash(self, script: str, variables: Mapping[str, str] | None = None, *, code: int = 0) -> str:
        return bash(script, self.folder, variables, code=code)

    def report(self, stage: str) -> Mapping[str, object]:
        found: dict[str, object] = json.loads((self.folder / "ci-reports" / f"{stage}.json").read_text())
        return found


def bash(
    script: str,
    folder: Path,
    variables: Mapping[str, str] | None = None,
    *,
    options: Sequence[str] = ("-euo", "pipefail"),
    code: int = 0,
) -> str:
    """Run a script as a CI system does, without what this test's own CI system says in its environment; all that it said."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(_THEIRS)}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", *options, "-c", script],
        cwd=folder,
        env=ours | {"PATH": f"{BIN}:{os.environ['PATH']}"} | dict(variables or {}),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
