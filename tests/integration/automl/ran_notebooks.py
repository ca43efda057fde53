"""Runs a search's notebooks as a kernel would: in this process, or (`executed`) by `millrace exec`."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def names_after(notebook: str) -> dict[str, Any]:
    """What an .ipynb has named after its last cell."""
    names: dict[str, Any] = {"display": lambda *_: None}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in json.loads(notebook)["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)  # noqa: S102 - our own cells
    return names


def executed(home: Path, notebook: str, folder: Path) -> str:
    """It with its outputs, as text."""
    asked, output = folder / "asked.ipynb", folder / "executed.ipynb"
    asked.write_text(notebook)
    command = [sys.executable, "-m", "millrace.cli.main", "exec", str(asked), "--output", str(output)]
    done = subprocess.run([*command, "--home", str(home)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return output.read_text()
