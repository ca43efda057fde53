from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.automl.lines import Lines
from millrace.automl.types import Preparation, Trial


def test_a_line_is_written_when_the_best_changes_or_a_trial_fails(capsys: pytest.CaptureFixture[str]) -> None:
    def trial(number: int, score: float, **more: str) -> Trial:
        return Trial(number, "linear", "x.Y", {}, Preparation(), score=score, **({"state": "done"} | more))  # type: ignore[arg-type]

    lines, first, second = Lines(), trial(0, 0.5), trial(1, 0.6)
    lines.ended(first, first, 9.0)
    lines.ended(second, first, 8.0)
    lines.ended(trial(2, float("nan"), state="failed", error="it broke"), first, 7.0)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "linear 0 done 0.50000; best 0.50000 by linear 0; 9 s left",
        "linear 2 failed: it broke; best 0.50000 by linear 0; 7 s left",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("shell", "looks"), [("IPython", True), (None, False)])
def test_somebody_looks_in_a_notebook_but_not_behind_a_pipe(shell: str | None, tmp_path: Path, *, looks: bool) -> None:
    code = "from millrace.automl.lines import lines_where_somebody_looks as find; print(find() is not None)"
    command = [sys.executable, *(["-m", shell] if shell else []), "-c", code]
    environment = os.environ | {"IPYTHONDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == str(looks)
