"""What a server of the home says about itself, where one runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from millrace.targets.local_server import find_server, told
from millrace.targets.running_server import running_server

__all__ = ["asleep", "find_server", "not_answered", "running_server"]


def not_answered(home: Path) -> Mapping[str, str]:
    """Endpoints that are deployed and that the home's server can't answer, and why; empty where no server runs.

    Raises:
        InvalidState: a server runs, and does not tell.
    """
    lacking = told(home, "/health/ready").get("not_ready", {})
    assert isinstance(lacking, dict)  # noqa: S101 - both ends are ours
    return lacking


def asleep(home: Path, endpoint: str) -> Sequence[str]:
    """Served entities of an endpoint whose models no worker of the home's server has in memory until they are asked.

    Raises:
        InvalidState: a server runs, and does not tell.
    """
    endpoints = told(home, "/api/millrace/status").get("endpoints", [])
    assert isinstance(endpoints, list)  # noqa: S101 - both ends are ours
    return next((each["asleep"] for each in endpoints if each["name"] == endpoint), ())
