"""Which Python an engine runs in, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from millrace.automl.engines.find import engine_named, interpreter
from millrace.core.errors import InvalidInput, NotFound


def environment(folder: Path) -> Path:
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return python


class TestInterpreter:
    def test_the_homes_own_environment(self, tmp_path: Path) -> None:
        python = environment(tmp_path / "engines" / "flaml")
        assert interpreter("flaml", tmp_path) == python

    def test_the_one_that_is_named_comes_first_where_it_is_there(self, tmp_path: Path) -> None:
        python, other = environment(tmp_path / "engines" / "flaml"), environment(tmp_path / "other")
        assert interpreter("flaml", tmp_path, str(other)) == other
        assert interpreter("flaml", tmp_path, str(tmp_path / "gone")) == python

    def test_where_nobody_has_it_the_hint_says_how_to_install_it(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="autogluon is not installed") as told:
            interpreter("autogluon", tmp_path)
        place = tmp_path / "engines" / "autogluon"
        assert told.value.hint.startswith(f"python -m venv {place} && {place}/bin/pip install 'autogluon.tabular[")


class TestName:
    def test_a_misspelt_one_is_told_the_right_one(self) -> None:
        with pytest.raises(InvalidInput) as told:
            engine_named("flamel")
        assert "flaml" in told.value.hint

    def test_known_ones(self) -> None:
        assert [engine_named(name) for name in ("flaml", "autogluon")] == ["flaml", "autogluon"]
