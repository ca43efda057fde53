"""Engines whose environment is not there, or not whole."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - what a user gives
import pytest

from millrace.automl import classify
from millrace.core.errors import InvalidState, NotFound
from millrace.workspace import require_home


def frame() -> pd.DataFrame:
    orders = np.arange(60) % 9
    return pd.DataFrame({"orders": orders, "lost": (orders > 4).astype(int)})


def test_one_that_is_not_installed_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="flaml is not installed"):
        classify(frame(), "lost", minutes=0.2, home=tmp_path, engine="flaml")


@pytest.mark.slow
def test_an_environment_without_it_fails_the_search_and_its_run(tmp_path: Path) -> None:
    python = tmp_path / "engines" / "flaml" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)  # which has no FLAML
    with pytest.raises(InvalidState, match="No module named 'flaml'") as told:
        classify(frame(), "lost", minutes=0.2, home=tmp_path, engine="flaml", experiment_name="tried")
    assert f"{python.parent / 'pip'} install 'flaml[automl]'" in told.value.hint
    with closing(require_home(tmp_path)) as workspace:
        (run,) = workspace.tracking.list("tried")
    assert run.status == "FAILED"
