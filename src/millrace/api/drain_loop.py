"""The drain process: every few seconds, what the workers captured goes into the lake.

A home in virtual time has no drain process: it drains only when it is told to (`POST /api/millrace/capture/drain`), so
that the inference tables change at moments of the home's own time, and a replay gives the same commits.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from millrace.api import lifeline, logs
from millrace.api.children import NOT_NEEDED
from millrace.api.options import ChildOptions
from millrace.api.workers import Workers
from millrace.core.principal import system
from millrace.serving.drain import drain
from millrace.workspace import Workspace, open_workspace

# One commit a table each time: seldom enough to keep the tables' logs short, often enough for a person who looks.
EVERY_S = 10.0
# Who asks goes first: nobody waits for the drain.
_NICE = 10
_log = logging.getLogger(__name__)


def run(workspace: Workspace, workers: Workers, stop: threading.Event, every_s: float = EVERY_S) -> None:
    """Drain until told to stop, and once more then. A drain that fails is logged and tried again the next time."""
    while not stop.wait(every_s):
        _once(workspace, workers)
    _once(workspace, workers)


def _once(workspace: Workspace, workers: Workers) -> None:
    root = workspace.capture_root
    if not root.is_dir() or not any(root.iterdir()):
        return
    try:
        workers.seal()
        drain(workspace.lake, root)
    except Exception:  # noqa: BLE001 - the boundary of the loop: the segments stay where they are, nothing is lost
        _log.exception("a drain failed; it is tried again in %s seconds", EVERY_S)


def main(options: ChildOptions) -> int:
    """Drain until SIGTERM or the end of the lifeline; the exit code."""
    logs.configure("drain")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    os.nice(_NICE)
    lifeline.hold(options.lifeline_fd)
    workspace = open_workspace(options.home, principal=system("drain"))
    try:
        if workspace.clock.is_virtual:
            return NOT_NEEDED
        run(workspace, Workers(Path(options.sockets), options.workers), stop)
    finally:
        workspace.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(ChildOptions.read()))
