"""What a CI system wants to be told while a stage runs in it: summaries, annotations, values for later steps.

Each is recognised by the variable that it sets, and each is written to in the way that its documentation gives. Elsewhere nothing is told.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TextIO

from millrace.ci.types import StageResult

Provider = Literal["github", "gitlab", "azure-devops"]
_SIGNS: Mapping[str, Provider] = {"GITHUB_ACTIONS": "github", "GITLAB_CI": "gitlab", "TF_BUILD": "azure-devops"}


def running_in(env: Mapping[str, str]) -> Provider | None:
    """The CI system that this process runs in; None on somebody's own machine."""
    return next((name for sign, name in _SIGNS.items() if env.get(sign, "").lower() == "true"), None)


def tell_provider(
    result: StageResult, markdown: str, folder: Path, env: Mapping[str, str], stream: TextIO | None
) -> None:
    """Tell it how the stage ended. Commands are lines on `stream`, standard output by default: Azure's agent reads only that."""
    said = stream or sys.stdout
    match running_in(env):
        case "github":
            _github(result, markdown, env, said)
        case "gitlab":
            _gitlab(result, folder)
        case "azure-devops":
            _azure(result, folder, said)
        case None:
            return


def values_of(result: StageResult) -> Mapping[str, str]:
    """What later jobs can take as variables."""
    told = {"stage": result.stage, "target": result.target, "status": result.status}
    told |= {name: str(result.facts[name]) for name in ("model", "version", "commit") if result.facts.get(name)}
    return told


def _github(result: StageResult, markdown: str, env: Mapping[str, str], stream: TextIO) -> None:
    _append(env.get("GITHUB_STEP_SUMMARY"), markdown)
    _append(env.get("GITHUB_OUTPUT"), "".join(f"{name}={_line(value)}\n" for name, value in values_of(result).items()))
    for reason in _said(result):
        _write(stream, f"::error title=millrace {result.stage}::{_escaped(reason, _GITHUB)}")


def _gitlab(result: StageResult, folder: Path) -> None:
    """Files that the job's `artifacts:reports` name: variables for later jobs, and figures that merge requests compare."""
    # Under names of their own: MILLRACE_TARGET, for one, would choose the target of the jobs that come after.
    pairs = [f"MILLRACE_CI_{name.upper()}={_line(value)}" for name, value in values_of(result).items()]
    (folder / f"{result.stage}.env").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    metrics = result.facts.get("metrics")
    figures = metrics.items() if isinstance(metrics, Mapping) else []
    lines = [f'millrace_holdout{{metric="{name}"}} {value}' for name, value in figures]
    (folder / f"{result.stage}.metrics.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _azure(result: StageResult, folder: Path, stream: TextIO) -> None:
    for reason in _said(result):
        _write(stream, f"##vso[task.logissue type=error]{_escaped(reason, _AZURE)}")
    for name, value in values_of(result).items():
        _write(stream, f"##vso[task.setvariable variable=millrace_{name};isOutput=true]{_escaped(value, _AZURE)}")
    _write(stream, f"##vso[task.uploadsummary]{folder / f'{result.stage}.md'}")


def _said(result: StageResult) -> Iterator[str]:
    if result.exit_code:
        yield from result.reasons or (result.summary,)


_GITHUB = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_AZURE = {"%": "%AZP25", "\r": "%0D", "\n": "%0A"}


def _escaped(text: str, codes: Mapping[str, str]) -> str:
    """A text from data, in which nothing is taken for a command."""
    return "".join(codes.get(letter, letter) for letter in text)


def _line(text: str) -> str:
    return " ".join(text.split())


def _append(path: str | None, text: str) -> None:
    if path:
        with Path(path).open("a", encoding="utf-8") as opened:
            opened.write(text)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()
