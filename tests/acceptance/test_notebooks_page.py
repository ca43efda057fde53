"""The page on notebooks: its notebook, commands and programs run, and print what the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notebooks.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PATIENCE_S = 240


def blocks(language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(PAGE.read_text()) if kind == language]


def run(folder: Path, *command: str) -> str:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "MLFLOW_"))}
    done = subprocess.run(
        command,
        cwd=folder,
        env=ours
        | {"MILLRACE_HOME": str(folder / "home"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_runs(tmp_path: Path) -> None:
    notebook, program, converted = blocks("python")
    (tmp_path / "report.py").write_text(notebook)
    first, second = (line.split() for line in blocks("sh")[0].splitlines())
    assert blocks("text")[0] in run(tmp_path, *first)
    assert json.loads((tmp_path / "friday.ipynb").read_text())["cells"][2]["outputs"]
    said = json.loads(run(tmp_path, *second))
    assert {name for name in said if f"`{name}`" in PAGE.read_text()} == set(said)
    assert (said["exit_value"], Path(said["output"]).parent) == (
        "monday: 50.0",
        tmp_path / "home" / "notebooks" / "report",
    )
    assert run(tmp_path, sys.executable, "-c", program) == "hello 42\n"
    run(tmp_path, sys.executable, "-c", converted)
    assert json.loads((tmp_path / "report.ipynb").read_text())["cells"][0]["cell_type"] == "markdown"
