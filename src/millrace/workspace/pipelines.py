"""Which file each pipeline of the home was last run from."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from millrace.workspace.workspace import Workspace


def remember_pipeline(workspace: Workspace, name: str, file: Path) -> None:
    """Write down where a pipeline is declared, so that `millrace status` finds it."""
    known = cast("dict[str, str]", workspace.home_settings.get("pipelines") or {})
    if known.get(name) != str(file.resolve()):
        workspace.home_settings.set("pipelines", {**known, name: str(file.resolve())})
