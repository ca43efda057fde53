"""The place that serves a home's models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from millrace.workspace.workspace import Workspace

if TYPE_CHECKING:
    from millrace.targets.port import DeploymentTarget, PromotionTarget


@contextmanager
def open_target(workspace: Workspace) -> Iterator[DeploymentTarget]:
    """The running server of the home, or one that is started for as long as it is needed.

    Raises:
        InvalidState: it did not start, or not in time.
    """
    from millrace.targets.local_server import home_token
    from millrace.targets.running_server import running_server

    with running_server(workspace.home) as server:
        yield workspace.target(server.url, home_token(workspace.home), server.certificate)


def promotion_target(url: str, token: str, certificate: str | None = None) -> PromotionTarget:
    """A server that receives versions; `certificate` is what it shows where it speaks TLS, as PEM."""
    from millrace.targets.adapters.promotion_http import MillracePromotionTarget

    return MillracePromotionTarget(url, token, certificate=certificate)
