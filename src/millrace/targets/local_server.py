"""The server of a home, as programs on the same machine find it: its lock, its address, what it says, and the home's token."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from millrace.core.errors import Conflict, InvalidState

if TYPE_CHECKING:  # a server that never asks another is there all the time, without them
    import http.client
    import ssl

ADDRESS, _LOCK = "server.json", "server.lock"
_LOOK_S, _PROBE_S = 0.05, 2.0
# For who only looks at the lock; for a server that is stopping; for one that is starting or busy, and between two questions to it.
_MOMENT_S, _STOPPING_S, _PATIENCE_S, _AGAIN_S = 1.0, 10.0, 30.0, 0.5
# After so long who waits is told for what.
_QUIETLY_S = 3.0
_LOG = logging.getLogger(__name__)
_STARTING = "TEMPORARILY_UNAVAILABLE"
_HINT = "ask again in a while: it may be starting, or busy; what it does is in logs/ in the home"


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server, as `server.json` in its home names it.

    Attributes:
        url: where programs on this machine reach it, `http://127.0.0.1:PORT`, no trailing slash.
        pid: the supervisor's process id.
        instance: random text that only this start of the server answers with on `/health/live`.
        certificate: what an `https` server shows, as PEM; None for plain HTTP.
    """

    url: str
    pid: int
    instance: str
    certificate: str | None = None


def read_info(home: Path) -> ServerInfo | None:
    """What `server.json` says, whether or not it is still true; None where it is missing or unreadable."""
    try:
        return ServerInfo(**json.loads((home / ADDRESS).read_text()))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def only_server(home: Path) -> Iterator[None]:
    """Hold the home as its one server does, without the address that a killed one left; the system lets go however this process ends.

    Raises:
        Conflict: a server has it.
        InvalidState: the lock can't be used.
    """
    with _opened(home / _LOCK, os.O_RDWR | os.O_CREAT) as lock:
        if not _locked(lock, home):
            info = read_info(home)
            where = f" at {info.url}" if info else ""
            raise Conflict(
                f"this home is being served already{where}",
                hint="use that server, stop it first, or choose another home",
            )
        (home / ADDRESS).unlink(missing_ok=True)
        yield


def is_served(home: Path) -> bool:
    """Whether a server runs on this home, also one that is starting, stopping or too busy to answer: the system keeps its lock.

    Raises:
        InvalidState: the lock can't be looked at.
    """
    path = home / _LOCK
    if not path.exists():
        return False
    with _opened(path, os.O_RDONLY) as lock:
        return not _takes(lock, fcntl.LOCK_SH)


def _locked(lock: int, home: Path) -> bool:
    """Whether the lock is ours now. Who only looks at it has it too, for a moment, and is waited for; so is a server that is stopping.

    A server that stops, or starts, has no address, and one that was killed with its owner still has to see that.
    """
    began, pause = time.monotonic(), threading.Event()
    while not _takes(lock, fcntl.LOCK_EX):
        if time.monotonic() - began > (_STOPPING_S if read_info(home) is None else _MOMENT_S):
            return False
        pause.wait(_LOOK_S)
    return True


@contextmanager
def _opened(path: Path, how: int) -> Iterator[int]:
    try:
        descriptor = os.open(path, how, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _takes(lock: int, how: int) -> bool:
    """Whether nobody else has the lock; then we do, until it is closed."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _unusable(Path(_LOCK), error) from error
    return True


def _unusable(path: Path, error: OSError) -> InvalidState:
    return InvalidState(
        f"the lock of the home, {path}, can't be used: {error.strerror}",
        hint="it must belong to you, on a file system that has locks",
    )


def find_server(home: Path) -> ServerInfo | None:
    """The server that runs on this home, or None where none does, at once. One that is starting or busy is waited for.

    Raises:
        InvalidState: there is one, and it did not answer in half a minute.
    """
    began, told_so, pause = time.monotonic(), False, threading.Event()
    while is_served(home):
        waited_s, info = time.monotonic() - began, read_info(home)
        if waited_s >= _PATIENCE_S:
            raise _silent(home)
        if waited_s >= _QUIETLY_S and not told_so:
            told_so = True
            _LOG.warning(
                "the server of the home %s does not answer yet: waiting %.0f s more at most",
                home,
                _PATIENCE_S - waited_s,
            )
        patience_s = (_PATIENCE_S if told_so else min(_QUIETLY_S, _PATIENCE_S)) - waited_s
        if info is not None and probe(info, "/health/live", timeout_s=patience_s)[1].get("instance") == info.instance:
            return info
        pause.wait(_LOOK_S)
    return None


def told(home: Path, path: str) -> Mapping[str, object]:
    """What the home's server answers to its owner, a JSON object; empty where none runs. A part of it that is starting is waited for.

    Raises:
        InvalidState: it does not answer, or with an error.
    """
    server = find_server(home)
    if server is None:
        return {}
    deadline, pause = time.monotonic() + _PATIENCE_S, threading.Event()
    status, body = probe(server, path, home_token(home), _PATIENCE_S)
    while body.get("error_code") == _STARTING and time.monotonic() < deadline:
        pause.wait(_AGAIN_S)
        status, body = probe(server, path, home_token(home), _PATIENCE_S)
    if status == 0:
        raise _silent(home)
    if "error_code" in body:
        raise InvalidState(f"the server of the home {home} says: {body.get('message')}", hint=_HINT)
    return body


def _silent(home: Path) -> InvalidState:
    return InvalidState(f"the home {home} has a server, and it does not answer", hint=_HINT)


def probe(
    server: ServerInfo, path: str, token: str | None = None, timeout_s: float = _PROBE_S
) -> tuple[int, dict[str, object]]:
    """GET a JSON object, waiting so long at most: `(status, body)`, `(0, {})` where nobody answers."""
    import http.client

    connection = _connection(server, timeout_s)
    try:
        connection.request("GET", path, headers={} if token is None else {"authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = json.loads(response.read() or b"{}")
    except (OSError, ValueError, http.client.HTTPException):
        return 0, {}
    finally:
        connection.close()
    return response.status, body if isinstance(body, dict) else {}


def tls_context(certificate: str) -> ssl.SSLContext:
    """Trusts the server that has this certificate (PEM) and its key, and no other, whoever signed it and whatever its name."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    return context


def _connection(server: ServerInfo, timeout_s: float) -> http.client.HTTPConnection:
    import http.client

    place = urlsplit(server.url).netloc
    if server.certificate is None:
        return http.client.HTTPConnection(place, timeout=timeout_s)
    return http.client.HTTPSConnection(place, timeout=timeout_s, context=tls_context(server.certificate))


def home_token(home: Path) -> str:
    """The home's token, made on first use; readable by the owner only. Safe to call from many processes at once.

    Raises:
        InvalidState: the file is there but empty.
    """
    path = home / "token"
    if not path.exists():
        draft = path.with_name(f"token.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            os.link(draft, path)  # fails where another process was first, and then its token counts
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    token = path.read_text().strip()
    if not token:
        raise InvalidState(f"the token file {path} is empty", hint="remove it, and the next start makes a new one")
    return token
