"""What a generated pipeline is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from millrace.ci.types import Project, Target


@dataclass(frozen=True, slots=True)
class Layout:
    """What the file of every provider says.

    Attributes:
        folder: the project's folder in the repository, with `/`; `.` where they are one.
        branch: what deploys.
        deploys: the targets that a version goes to, in order, each after the one before.
    """

    project: Project
    folder: str
    branch: str
    deploys: tuple[Target, ...]

    @property
    def reports(self) -> str:
        """The folder of reports, from the repository's top."""
        inside = self.project.reports.relative_to(self.project.folder).as_posix()
        return inside if self.folder == "." else f"{self.folder}/{inside}"

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the secrets that servers need: set them in the provider, they are in no file."""
        return tuple(dict.fromkeys(target.token_env for target in self.project.targets if target.server))


@dataclass(frozen=True, slots=True)
class Provider:
    """One CI system.

    Attributes:
        path: where its file is, from the repository's top.
        signs: files and folders by which a repository is known to use it.
        hosts: parts of a remote's address by which it is known.
        write: makes the file's text.
        approvals: how its approvals are set up, for people.
    """

    name: str
    path: str
    signs: tuple[str, ...]
    hosts: tuple[str, ...]
    write: Callable[[Layout], str]
    approvals: str
