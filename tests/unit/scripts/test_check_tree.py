from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = Path(__file__).parents[3] / "scripts" / "check_tree.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(_SCRIPT))


def found(script: dict[str, Any], text: str, path: str = "docs/page.md") -> list[str]:
    return list(script["breaches"](Path(path), text))


# Written in parts, or this file would itself be a breach.
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fine\nsee " + "pypi" + ".org for more", "docs/page.md:2: names a package registry"),
        ("index = https://files." + "pythonhosted" + ".org/x", "names a package registry"),
        ("curl https://host.example/tool-1.0." + "tar.gz", "names a place to download from"),
        ("open('/ho" + "me/ada/data.csv')", "names a path of somebody's machine"),
        ("cd /ro" + "ot/work", "names a path of somebody's machine"),
        (f"cd {_SCRIPT.parents[1]}" + "/src", "names a path of somebody's machine"),
    ],
)
def test_what_does_not_belong_is_found_with_its_line(script: dict[str, Any], text: str, says: str) -> None:
    (line,) = found(script, text)
    assert says in line


@pytest.mark.parametrize(
    "text",
    ["", "http://127.0.0.1:8080/api", "from /home, by `--home`", "https://host.example/page.html", "$HOME/.millrace"],
)
def test_what_belongs_is_left_alone(script: dict[str, Any], text: str) -> None:
    assert found(script, text) == []


def test_a_source_file_of_more_than_400_lines_is_too_long(script: dict[str, Any]) -> None:
    assert found(script, "x\n" * 400, "src/millrace/long.py") == []
    assert "has 401 lines" in found(script, "x\n" * 401, "src/millrace/long.py")[0]
    assert found(script, "x\n" * 401, "requirements/run.txt") == []
