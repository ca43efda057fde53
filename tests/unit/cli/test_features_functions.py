from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.features.functions.store import create_function
from millrace.workspace import open_workspace
from tests.unit.cli.conftest import Cli


def half(x: float, by: int | None = 2) -> float | None:
    """Half of it."""
    return x / by if by else None


def third(x: float) -> float:
    return x / 3  # about


@pytest.fixture
def filled(home: Path) -> None:
    workspace = open_workspace(home)
    workspace.clock.set(datetime(2025, 3, 10, tzinfo=UTC))
    create_function(workspace.functions, "ml.functions.share", half)
    create_function(workspace.functions, "ml.functions.share", third)
    create_function(workspace.functions, "ml.functions.half", half)
    workspace.close()


@pytest.mark.usefixtures("filled")
def test_functions_are_listed_with_their_newest_version(cli: Cli) -> None:
    one, two = cli("features", "functions", "--json").json()["functions"]
    assert (one["name"], one["version"], one["description"]) == ("ml.functions.half", 1, "Half of it.")
    assert one["signature"] == "(x: float, by: int | None = ...) -> float | None"
    assert (two["name"], two["version"], two["created_at"]) == ("ml.functions.share", 2, "2025-03-10T00:00:00Z")
    said = cli("features", "functions").out
    assert "ml.functions.share" in said
    assert "(x: float) -> float" in said


@pytest.mark.usefixtures("filled")
def test_one_function_is_shown_with_its_source(cli: Cli) -> None:
    versions = cli("features", "functions", "ml.functions.share", "--json").json()["functions"]
    assert [each["version"] for each in versions] == [1, 2]
    assert versions[1]["source"] == "def third(x: float) -> float:\n    return x / 3  # about\n"
    said = cli("features", "functions", "ml.functions.share").out
    assert "2 of 2" in said
    assert "    return x / 3  # about" in said
    assert "did you mean 'ml.functions.half'?" in cli("features", "functions", "ml.functions.hlf").refused()


def test_a_home_without_functions(cli: Cli, home: Path) -> None:
    open_workspace(home).close()
    assert "no function is registered yet" in cli("features", "functions").out
