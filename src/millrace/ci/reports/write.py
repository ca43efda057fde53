"""Writing all reports of a stage into a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from millrace.ci.reports.html import to_html
from millrace.ci.reports.junit import to_junit
from millrace.ci.reports.markdown import to_markdown
from millrace.ci.reports.providers import tell_provider
from millrace.ci.types import StageResult
from millrace.core.errors import InvalidState


def write_reports(
    result: StageResult,
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    junit: bool = True,
    stream: TextIO | None = None,
) -> None:
    """`STAGE.xml`, `.md`, `.html` and `.json`, and what the CI system wants to be told. Replaces those of before.

    `junit=False` leaves the `.xml` as it is: the tests have written their own.
    """
    markdown = to_markdown(result)
    make_folder(folder)
    if junit:
        write_text(folder / f"{result.stage}.xml", to_junit(result))
    write_text(folder / f"{result.stage}.md", markdown)
    write_text(folder / f"{result.stage}.html", to_html(result))
    write_text(folder / f"{result.stage}.json", json.dumps(as_json(result), indent=2) + "\n")
    for ending, text in result.attachments.items():
        write_text(folder / f"{result.stage}.{ending}", text)
    tell_provider(result, markdown, folder, os.environ if env is None else env, stream)


def as_json(result: StageResult) -> dict[str, object]:
    """The result as JSON-compatible values."""
    body = {name: value for name, value in asdict(result).items() if name != "attachments"}
    return {**body, "exit_code": result.exit_code}


def write_text(file: Path, text: str) -> None:
    """Write a file whole, or not at all.

    Raises:
        InvalidState: it can't be written.
    """
    make_folder(file.parent)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InvalidState(f"{file} can't be written: {error.strerror}", hint="name another place") from error


def make_folder(folder: Path) -> None:
    """A folder for reports; InvalidState where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidState(f"{folder} can't be a folder: {error.strerror}", hint="name another place") from error
