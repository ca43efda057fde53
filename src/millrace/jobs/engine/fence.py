"""No two attempts at once: what an attempt left running is found by the token in its environment, and ended."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from millrace.core.errors import Conflict
from millrace.core.processes import is_alive

TOKEN = "MILLRACE_ATTEMPT"  # noqa: S105 - the name of a variable, and no secret in it
_PATIENCE_S = 30.0
_LOOK_S = 0.02


def host() -> str:
    """This machine's name, as it stands in the `process` of an attempt."""
    return socket.gethostname()


def clear(process: str) -> None:
    """Kill all processes of an attempt; when it returns, there is none.

    Processes of another machine can't be seen from here: their keepers end them before its lease does. The same where there is
    no /proc: a keeper ends its attempt as soon as the executor is gone, for which we wait here.

    Raises:
        Conflict: some could not be ended.
    """
    where, _, token = process.rpartition(":")
    if where != host() or not sys.platform.startswith("linux"):
        return
    until, killed = time.monotonic() + _PATIENCE_S, set[int]()
    while True:
        found = _with_token(token)
        # A process that ends loses its environment first, and its locks and files only then.
        left = {*found, *filter(is_alive, killed)}
        if not left:
            return
        killed |= set(found)
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            raise Conflict(
                f"processes {sorted(left)} of an attempt don't end", hint="end them by hand; then its task goes on"
            )
        time.sleep(_LOOK_S)


def _with_token(token: str) -> Sequence[int]:
    """Processes with this token in their environment; one that has ended has none any more."""
    wanted, found = f"{TOKEN}={token}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # gone, or not ours
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
