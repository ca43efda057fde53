from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from millrace.core.errors import InvalidState
from millrace.workspace import open_workspace


def test_a_copied_home_is_refused_because_its_tables_are_in_the_original(tmp_path: Path) -> None:
    open_workspace(tmp_path / "home").close()
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    with pytest.raises(InvalidState, match="was made at"):
        open_workspace(tmp_path / "copy")
    open_workspace(tmp_path / "home").close()


def test_a_home_is_the_same_by_any_path_that_leads_to_it(tmp_path: Path) -> None:
    open_workspace(tmp_path / "home").close()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    open_workspace(tmp_path / "link").close()
