"""Writing the pipeline file of a CI system. What is there is not touched unless that is asked for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from millrace.ci.providers.layout import file_of, layout_of
from millrace.ci.providers.types import Provider
from millrace.ci.reports.write import write_text
from millrace.ci.types import Project


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the file.

    Attributes:
        outcome: `written`; `unchanged` where it says just this already; `kept` where it says something else.
        diff: from what is there to what would be, in unified form; empty where nothing differs.
        remarks: what is still to be done by hand.
    """

    file: Path
    outcome: Literal["written", "unchanged", "kept"]
    diff: str
    remarks: tuple[str, ...] = ()


def write_pipeline(project: Project, provider: Provider, *, branch: str | None = None, force: bool = False) -> Written:
    """Write the file, or say how it would differ."""
    layout = layout_of(project, branch)
    file, text = file_of(project, provider), provider.write(layout)
    before = file.read_text(encoding="utf-8") if file.exists() else None
    remarks = tuple(_remarks(project, provider))
    if before == text:
        return Written(file, "unchanged", "", remarks)
    diff = "" if before is None else _diff(before, text, provider.path)
    if before is not None and not force:
        return Written(file, "kept", diff, remarks)
    write_text(file, text)
    return Written(file, "written", diff, remarks)


def _diff(before: str, after: str, path: str) -> str:
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), path, f"{path} (new)")
    return "".join(lines)


def _remarks(project: Project, provider: Provider) -> list[str]:
    remarks = []
    asks = [target.name for target in project.targets if target.approval]
    if asks:
        remarks.append(
            f"{', '.join(asks)} must be approved, which {provider.name} asks for once you have set it up. {provider.approvals}"
        )
    secrets = dict.fromkeys(target.token_env for target in project.targets if target.server)
    if secrets:
        remarks.append(f"set as secrets of {provider.name}: {', '.join(secrets)}")
    if "requirements.txt" in project.install and not (project.folder / "requirements.txt").is_file():
        remarks.append(
            "there is no requirements.txt, which the stages install from: write one with millrace and pytest in it"
        )
    return remarks
