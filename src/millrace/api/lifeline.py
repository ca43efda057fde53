"""No orphans: a child holds the reading end of a pipe whose writing end only its parent has, and stops at its end."""

from __future__ import annotations

import os
import signal
import threading

_GRACE_S = 2.5


def hold(descriptor: int | None, *, grace_s: float = _GRACE_S) -> None:
    """Stop this process when the pipe ends: SIGTERM to itself, and after the grace at once. None does nothing."""
    if descriptor is not None:
        threading.Thread(target=_watch, args=(descriptor, grace_s), name="lifeline", daemon=True).start()


def _watch(descriptor: int, grace_s: float) -> None:
    while os.read(descriptor, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(grace_s)
    os._exit(1)
