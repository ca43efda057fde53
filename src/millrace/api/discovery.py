"""Finding the server of a home, or having one for a while."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from millrace.api.children import open_log
from millrace.api.runtime import ServerInfo, read_info
from millrace.core.errors import InvalidState

_PROBE_S = 2.0
_STOP_S = 6.0


def find_server(home: Path) -> ServerInfo | None:
    """The server that runs on this home, or None. An address file that a killed server left behind is not believed."""
    info = read_info(home)
    if info is None or not _alive(info.pid):
        return None
    status, body = probe(info.url, "/health/live")
    return info if status == 200 and body.get("instance") == info.instance else None  # noqa: PLR2004 - HTTP's OK


@contextmanager
def running_server(home: Path, *, workers: int = 1, timeout_s: float = 60.0) -> Iterator[ServerInfo]:
    """The home's server; where none runs, one on a free port, stopped at the end, and also when this process dies.

    Raises:
        InvalidState: it did not start, or not in time; the message has what it said.
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
            [sys.executable, "-m", "millrace.api.supervisor", *command],
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


def probe(url: str, path: str) -> tuple[int, dict[str, object]]:
    """GET a JSON object without waiting long: `(status, body)`, `(0, {})` where nobody answers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_PROBE_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = json.loads(response.read() or b"{}")
    except (OSError, ValueError, http.client.HTTPException):
        return 0, {}
    finally:
        connection.close()
    return response.status, body if isinstance(body, dict) else {}


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


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
