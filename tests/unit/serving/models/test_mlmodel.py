from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.core.errors import InvalidInput, InvalidState
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.processes import environments as made
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.processes.needs import Needs, needs_of

WHOLE = """{"flavors": {"sklearn": {}}, "signature": {"inputs": "[{\\"name\\": \\"a\\", \\"type\\": \\"double\\"}]"}}"""


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(WHOLE)
    assert read_model_folder(tmp_path).inputs == (("a", "double"),)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: path.write_text("{"),
        lambda path: path.write_text(""),
        lambda path: path.write_text("just words"),
        lambda path: path.write_text("[1, 2]"),
        lambda path: path.write_text('{"flavors": [1]}'),
        lambda path: path.write_text('{"flavors": {}, "signature": {"inputs": "[{"}}'),
        lambda path: path.write_text('{"flavors": {}, "signature": {"inputs": "[{\\"name\\": 1}]"}}'),
    ],
)
def test_a_damaged_one_is_said_to_be(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    damage(tmp_path / "MLmodel")
    with pytest.raises(InvalidInput) as raised:
        read_model_folder(tmp_path)
    assert "log" in raised.value.hint


def test_requirements_that_are_no_text_are_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(WHOLE)
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"requirements.txt"):
        needs_of(tmp_path)


def test_a_python_that_is_not_here_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "_uv", lambda: None)
    environments = Environments(tmp_path / "envs", tmp_path / "logs")
    with pytest.raises(InvalidState, match=r"Python 3\.1 is not here") as raised:
        environments.make(Needs(("pandas",), ("Python 3.1 (3.11 is here)",), "3.1"))
    assert "uv" in raised.value.hint


def test_a_full_disk_is_no_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(InvalidState, match="No space left on device"):
        Environments(tmp_path / "envs", tmp_path / "logs").make(Needs(("pandas",), ("pandas (not installed)",)))
