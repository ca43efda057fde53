"""A worker that has grown starts itself anew when nobody asks it anything.

What a request made it import once, for texts in Arrow say, no library gives back; nor does an allocator all of what a load took.
The process stays the same, with the same sockets: who comes meanwhile waits for the half a second that a start takes.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from millrace.serving.requests.hot import HotApp

# As long as control stays.
REST_S = 120.0
_GROWN_BYTES = 8 << 20
_STATE = Path("/proc/self/status")
_log = logging.getLogger(__name__)


class Renewal:
    """When it is time."""

    def __init__(self, hot: HotApp) -> None:
        self._hot, self._lean_bytes = hot, 0

    def begin(self) -> None:
        """What is stored is loaded: what the process takes now it needs."""
        self._lean_bytes = _own_bytes()

    def is_due(self) -> bool:
        """Whether nobody has asked for a prediction for two minutes, what is served is loaded in a blink, and it is worth it."""
        if self._hot.rested_s() < REST_S or not self._hot.loads_at_once():
            return False
        return _own_bytes() - self._lean_bytes > _GROWN_BYTES

    @staticmethod
    def leave() -> None:
        """All is to be put away, and then the program begins anew: who wants the process to end now need not wait for that."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _log.info("nobody has asked for a while: starting anew, which gives memory back")


def begin_anew() -> None:
    """Start this process's program again, as it was started."""
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - our own program


def _own_bytes() -> int:
    """What the process has in memory that is no file's, which the system takes back by itself; 0 where the system does not say."""
    with suppress(OSError):
        for line in _STATE.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    return 0
