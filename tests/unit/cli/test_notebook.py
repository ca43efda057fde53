from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli


def test_without_jupyterlab_the_extra_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    said = cli("notebook").refused()
    assert "JupyterLab is not installed" in said
    assert "pip install 'millrace[notebook]'" in said


def test_a_missing_folder_and_wrong_options_are_told(cli: Cli, tmp_path: Path) -> None:
    assert "there is no nowhere" in cli("notebook", "nowhere").refused()
    assert "there is no file" in cli("exec", str(tmp_path / "missing.py")).refused()
    assert "is not NAME=VALUE" in cli("exec", "a.py", "--param", "day").refused(2)
    assert "--timeout is 0" in cli("exec", "a.py", "--timeout", "0").refused(2)
