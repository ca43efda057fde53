"""The page on the feature store is a program: its blocks run in order, and print what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "feature-store.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK = "\x1e\n"
_NEXT = '\nprint("\\x1e", flush=True)\n'
_PATIENCE_S = 240


def program_and_output() -> tuple[list[str], list[str]]:
    """The page's Python blocks, and for each what the text block behind it says that it prints."""
    program: list[str] = []
    output: list[str] = []
    for language, text in _BLOCK.findall(PAGE.read_text()):
        if language == "python":
            program.append(text)
            output.append("")
        elif language == "text":
            output[-1] = text
    return program, output


def test_the_page_prints_what_it_says(tmp_path: Path) -> None:
    program, output = program_and_output()
    (tmp_path / "page.py").write_text(_NEXT.join(program))
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=ours | {"MILLRACE_HOME": str(tmp_path / "home"), "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(_MARK) == output
    assert {path.name for path in tmp_path.iterdir()} == {"page.py", "home"}
