"""The homes of targets, opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from millrace.ci.types import Project, Target
from millrace.core.errors import InvalidState, UsageError
from millrace.core.settings import Settings
from millrace.workspace import Workspace, open_workspace, require_home

_SHARED = ("MILLRACE_DATABASE_URL", "MILLRACE_MLFLOW_URL", "MILLRACE_WAREHOUSE")


def home_of(target: Target) -> Path:
    """Where a target's home is.

    Raises:
        InvalidState: the target is a server.
    """
    if target.server is not None:
        raise InvalidState(
            f"target {target.name} is the server at {target.server}, and this works in a home",
            hint="do it on the machine that has the home, or choose a target with home = PATH",
        )
    return Settings.load(target.home).home


def is_same_home(one: Target, other: Target) -> bool:
    """Whether two targets are one home, so that nothing has to be copied between them."""
    if one.server or other.server:
        return (one.server, one.name if not one.server else "") == (
            other.server,
            other.name if not other.server else "",
        )
    return home_of(one).resolve() == home_of(other).resolve()


def with_home(project: Project, home: Path | None) -> Project:
    """The project, where targets that name neither a home nor a server are in this one."""
    if home is None:
        return project
    targets = (
        target if target.home or target.server else replace(target, home=home.absolute()) for target in project.targets
    )
    return replace(project, targets=tuple(targets))


def refuse_shared(one: Target, other: Target) -> None:
    """Two homes whose databases or tables are one, by the environment, are not two targets.

    Raises:
        UsageError: they are.
    """
    named = [name for name in _SHARED if os.environ.get(name)]
    if named and not (one.server or other.server):
        raise UsageError(
            f"{named[0]} is set, so that targets {one.name} and {other.name} would be one",
            hint="unset it for a promotion between homes, or make one of the targets a server",
        )


@contextmanager
def opened(target: Target, *, make: bool = False) -> Iterator[Workspace]:
    """A target's home, closed at the end. Where it is missing it is made, or NotFound is raised."""
    home = home_of(target)
    workspace = open_workspace(home) if make else require_home(home)
    try:
        yield workspace
    finally:
        workspace.close()
