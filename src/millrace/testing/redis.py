"""A Redis server of one's own for tests: started from the machine's binary, on a free port of the loopback."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from millrace.core.errors import InvalidState, NotFound

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0
_PORTS = 5


class RedisServer:
    """A running server, with a password; it gives out places that don't know of each other."""

    def __init__(self, port: int, password: str) -> None:
        self.port, self.password = port, password
        self._numbers = count(1)

    def new_url(self) -> str:
        """The URL of an empty store on this server."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0?prefix=test{next(self._numbers)}"


@contextmanager
def temporary_redis() -> Iterator[RedisServer]:
    """Start a server with nothing in it, and stop it at the end. It keeps all in memory.

    Raises:
        NotFound: no server is installed.
        InvalidState: it did not start; the message holds the end of its log.
    """
    binary = shutil.which("redis-server")
    if binary is None:
        raise NotFound("no Redis server is installed", hint="install Debian's package redis-server")
    with tempfile.TemporaryDirectory(prefix="millrace-redis-") as folder:
        for attempt in range(_PORTS):
            server = RedisServer(_free_port(), secrets.token_urlsafe(12))
            process = _start(binary, Path(folder), server)
            try:
                if _is_up(server, process):
                    yield server
                    return
            finally:
                _stop(process)
            if attempt == _PORTS - 1:
                log = (Path(folder) / "log").read_text()[-2000:].strip()
                raise InvalidState(f"Redis did not start: {log}", hint="run redis-server by hand to see why")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(binary: str, folder: Path, server: RedisServer) -> subprocess.Popen[bytes]:
    settings = folder / "redis.conf"  # not the command line, which everybody on the machine can read
    settings.touch(mode=0o600)
    settings.write_text(
        f'bind 127.0.0.1\nport {server.port}\nrequirepass {server.password}\nsave ""\nappendonly no\ndir {folder}\n'
    )
    # Where the system can: the server ends when this process is killed, not only when it ends in order.
    with_parent = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*with_parent, binary, str(settings)], stdout=log, stderr=log, cwd=folder, start_new_session=True
        )


def _is_up(server: RedisServer, process: subprocess.Popen[bytes]) -> bool:
    import redis

    until = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < until:
        client = redis.Redis(port=server.port, password=server.password)
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            time.sleep(0.02)
        finally:
            client.close()
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_TIMEOUT_S)
