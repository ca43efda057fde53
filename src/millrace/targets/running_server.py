"""Having a server of a home for a while, where none runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace.core.errors import InvalidState
from millrace.core.log_files import open_log
from millrace.targets.local_server import ServerInfo, find_server, read_info

_STOP_S = 10.0  # which is longer than it gives its parts
_SERVER = "millrace.api.supervisor"  # a program of its own: by name, since it is above whoever wants a server


@contextmanager
def running_server(home: Path, *, workers: int = 1, timeout_s: float = 120.0) -> Iterator[ServerInfo]:
    """The home's server; where none runs, one on a free port, stopped at the end, and also when this process dies.

    It is given longer than it gives its parts, so that it comes to say which of them was not ready.

    Raises:
        InvalidState: it did not start, or not in time; the message has what it said. Or one runs already, and does not answer.
    """
    found = find_server(home)
    if found is not None:
        yield found
        return
    log = open_log(home / "logs", "supervisor")
    reading, writing = os.pipe()
    command = ["--home", str(home), "--port", "0", "--workers", str(workers), "--lifeline", str(reading)]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", _SERVER, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[reading],
            process_group=0,
        )
    os.close(reading)
    try:
        yield _wait(home, process, log, timeout_s)
    finally:
        os.close(writing)  # the end of its lifeline
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(home: Path, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> ServerInfo:
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while time.monotonic() < deadline:
        info = read_info(home)
        if info is not None and info.pid == process.pid:
            return info
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines()[-2:]
            raise InvalidState(f"the server did not start: {' '.join(said)}", hint=f"the whole log is {log}")
        pause.wait(0.05)
    raise InvalidState(f"the server was not ready after {timeout_s:.0f} seconds", hint=f"look at {log.parent}")
