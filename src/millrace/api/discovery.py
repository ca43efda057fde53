"""What a server of the home says about itself, where one runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.targets.local_server import find_server, told
from millrace.targets.running_server import running_server

__all__ = ["find_server", "not_answered", "running_server", "told_of"]


def not_answered(home: Path) -> Mapping[str, str]:
    """Endpoints that are deployed and that the home's server can't answer, and why; empty where no server runs.

    Raises:
        InvalidState: a server runs, and does not tell.
    """
    lacking = told(home, "/health/ready").get("not_ready", {})
    assert isinstance(lacking, dict)  # noqa: S101 - both ends are ours
    return lacking


def told_of(home: Path, endpoint: str) -> Mapping[str, Any]:
    """What the home's server tells of an endpoint: `paths`, `asleep`, ...; empty where no server runs, or it knows no such endpoint.

    Raises:
        InvalidState: a server runs, and does not tell.
    """
    endpoints = told(home, "/api/millrace/status").get("endpoints", [])
    assert isinstance(endpoints, list)  # noqa: S101 - both ends are ours
    return next((each for each in endpoints if each["name"] == endpoint), {})
