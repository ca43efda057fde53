"""The commands of the Makefile are commands that the shell can read."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TARGETS = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.mark.parametrize("target", TARGETS)
def test_the_shell_can_read_it(target: str) -> None:
    """Nothing is run: `make` says what it would run, line by line, and the shell only reads it."""
    told = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True)
    for line in told.stdout.replace("\\\n", " ").splitlines():
        read = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True, check=False)
        assert read.returncode == 0, f"{line}\n{read.stderr}"
