"""What docs/ci.md says can be said."""

from __future__ import annotations

import re
from pathlib import Path

from millrace.ci import project as reading
from millrace.ci.project import read_project

PAGE = Path(__file__).resolve().parents[3] / "docs" / "ci.md"


def test_the_file_of_the_page_is_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "millrace.toml").write_text(text)
    project = read_project(tmp_path / "millrace.toml")
    assert [target.name for target in project.targets] == ["dev", "staging", "prod"]
    assert project.targets[2].token_env == "MILLRACE_PROD_TOKEN"  # noqa: S105 - a variable's name


def test_the_page_lists_every_key() -> None:
    said = set(re.findall(r"^\| `([a-zA-Z_]+\.[a-zA-Z_.]+)` \|", PAGE.read_text(), re.MULTILINE))
    keys = {f"project.{key}" for key in reading._PROJECT} | {f"ci.{key}" for key in reading._CI}
    assert said == keys | {f"targets.NAME.{key}" for key in reading._TARGET}
