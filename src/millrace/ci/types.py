"""A project with its targets, and how a stage of its CI pipeline ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Stage = Literal["test", "train", "validate", "deploy"]
Status = Literal["passed", "failed", "refused", "waiting"]
_EXIT = {"passed": 0, "waiting": 0, "failed": 1, "refused": 3}


@dataclass(frozen=True, slots=True)
class Target:
    """A place that models are trained in or promoted to: a home on this machine, or a server.

    Attributes:
        home: the home's folder; None: MILLRACE_HOME or `./.millrace`, unless it is a server.
        server: URL of a running server; None: it is a home.
        token_env: the environment variable that holds the server's token.
        certificate: PEM file of what the server shows, where no authority that this machine knows has signed it.
        approval: whether somebody has to approve before production there changes.
        alias: what a version that is promoted here becomes: `production`, `staging`, or a name of your own.
    """

    name: str
    home: Path | None = None
    server: str | None = None
    token_env: str = "MILLRACE_TOKEN"  # noqa: S105 - a variable's name
    certificate: Path | None = None
    approval: bool = False
    alias: str = "staging"


@dataclass(frozen=True, slots=True)
class Project:
    """What `millrace.toml` says. All paths are absolute.

    Attributes:
        folder: where the file is, or would be.
        file: the file; None where there is none and all is as by default.
        pipelines: the files that define pipelines.
        tests: the command that tests the project; empty: there are no tests.
        targets: in the order in which versions travel.
        train: the target that models are trained and judged in.
        reports: the folder that stages write their reports into.
        install: the command by which a stage installs what it needs.
        runner: what runs the stages, in the provider's words; None: the provider's own machines.
    """

    folder: Path
    file: Path | None
    pipelines: tuple[Path, ...]
    tests: str
    targets: tuple[Target, ...]
    train: str
    reports: Path
    install: str = "python -m pip install -r requirements.txt"
    runner: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a stage looked at or did: a line in each of its reports."""

    name: str
    status: Literal["passed", "failed", "skipped", "waiting"]
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StageResult:
    """How a stage ended.

    Attributes:
        summary: a sentence.
        checks: what was looked at, in order.
        facts: what later stages and people want to know: model, version, commit; JSON-compatible.
        hint: what to do about it, where something is to be done.
        attachments: further files for the reports, by the ending of their names.
    """

    stage: Stage
    target: str
    status: Status
    summary: str
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    hint: str = ""
    attachments: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def exit_code(self) -> int:
        """0 done or under way, 1 failed, 3 a gate or somebody who must approve said no."""
        return _EXIT[self.status]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it did not pass; empty where it did."""
        return tuple(check.detail for check in self.checks if check.status == "failed")
