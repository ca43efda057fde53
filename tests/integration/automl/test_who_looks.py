"""Whether somebody looks at a search's lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("shell", "looks"), [("IPython", True), (None, False)])
def test_somebody_looks_in_a_notebook_but_not_behind_a_pipe(shell: str | None, tmp_path: Path, *, looks: bool) -> None:
    code = "from millrace.automl.lines import lines_where_somebody_looks as find; print(find() is not None)"
    command = [sys.executable, *(["-m", shell] if shell else []), "-c", code]
    environment = os.environ | {"IPYTHONDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == str(looks)
