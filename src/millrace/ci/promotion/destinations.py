"""The targets that versions go to, opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from millrace.ci.homes import is_same_home, opened, refuse_shared
from millrace.ci.promotion.promote import Destination, HomeDestination
from millrace.ci.promotion.server import server_of
from millrace.ci.types import Target
from millrace.registry.types import VersionEntry
from millrace.workspace import Workspace, open_target


@contextmanager
def open_destination(place: Target, to: Target, source: Workspace, entry: VersionEntry) -> Iterator[Destination]:
    """The target that a version goes to."""
    if is_same_home(place, to):
        yield HomeDestination(source, lambda: open_target(source), entry)
        return
    if to.server is not None:
        yield server_of(to)
        return
    refuse_shared(place, to)
    with opened(to) as workspace:
        yield HomeDestination(workspace, lambda: open_target(workspace))
