"""A PostgreSQL of one's own for tests: started from the machine's binaries, reached over a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from millrace.core.errors import InvalidState, NotFound

_BINARIES = "/usr/lib/postgresql/*/bin/initdb"
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 60.0
# A test database need not survive a power cut.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60", "shared_buffers=16MB")


class PostgresServer:
    """A running server that makes empty databases on request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database on this server."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        engine = create_engine(self.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
        engine.dispose()
        return self.url(name)


def find_binaries() -> Path:
    """The folder with `initdb` and `postgres`, the newest version where there are several.

    Raises:
        NotFound: no server is installed.
    """
    found = sorted(Path("/").glob(_BINARIES.lstrip("/")), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    raise NotFound("no PostgreSQL server is installed", hint="install Debian's package postgresql")


@contextmanager
def temporary_postgres() -> Iterator[PostgresServer]:
    """Start a server with nothing in it, and stop and delete it at the end. No port is opened: it listens on a socket only.

    PostgreSQL refuses to run as root: then it runs as the system's user `postgres`, or `nobody` where there is none.

    Raises:
        NotFound: no server is installed.
        InvalidState: it did not start; the message holds the end of its log.
    """
    binaries, user = find_binaries(), _unprivileged_user()
    # Not TMPDIR: a socket's path has room for about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="millrace-postgres-", dir="/tmp"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        _initialise(binaries, folder, user)
        with _serving(binaries, folder, user) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _initialise(binaries: Path, folder: Path, user: str | None) -> None:
    command = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    command += ["--locale=C.UTF-8", "--no-sync"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=folder, user=user, extra_groups=_no_groups(user)
    )
    if done.returncode:
        raise InvalidState(f"initdb failed: {done.stderr.strip()}", hint="run it by hand to see why")


@contextmanager
def _serving(binaries: Path, folder: Path, user: str | None) -> Iterator[PostgresServer]:
    # Where the system can: the server ends when this process is killed, not only when it ends in order.
    with_parent = ["setpriv", "--pdeathsig", "QUIT", "--"] if shutil.which("setpriv") else []
    command = [*with_parent, str(binaries / "postgres"), "-D", str(folder / "data"), "-k", str(folder), "-h", ""]
    command += [part for setting in _FAST for part in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            user=user,
            extra_groups=_no_groups(user),
            start_new_session=True,
        )
    try:
        server = PostgresServer(folder)
        _wait_until_up(server, process, folder / "log")
        yield server
    finally:
        _stop(process)


def _no_groups(user: str | None) -> list[str] | None:
    return None if user is None else []


def _wait_until_up(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < until:
        if _answers(server.url()):
            return
        time.sleep(0.05)
    raise InvalidState(f"PostgreSQL did not start: {log.read_text()[-2000:].strip()}", hint="run it by hand to see why")


def _answers(url: str) -> bool:
    engine = create_engine(url)
    try:
        with engine.connect():
            return True
    except OperationalError:
        return False
    finally:
        engine.dispose()


def _stop(process: subprocess.Popen[bytes]) -> None:
    # SIGINT is PostgreSQL's fast shutdown: clients are let go, all its processes end.
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(_STOP_TIMEOUT_S)
