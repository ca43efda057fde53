"""Runs a server on one core until standard input ends, then ends it and all that came of it: `serving_guard.py CORE COMMAND...`.

The benchmark holds the other end of standard input, so no server outlives it, however it ends. Some servers start daemons
that leave their parent: as their subreaper this process gets them back, and finds them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import processes

_SET_CHILD_SUBREAPER = 36  # of prctl(2)
_GRACE_S = 5.0
_LOOK_S = 0.02


def main(core: int, command: list[str]) -> None:
    """Run it, wait, end it."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    os.sched_setaffinity(0, {core})
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    sys.stdin.read()
    server.terminate()
    deadline = time.monotonic() + _GRACE_S
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    while left := processes.descendants(os.getpid()):
        for pid in left:
            processes.kill(pid, signal.SIGKILL)
        _reap()
        time.sleep(_LOOK_S)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
