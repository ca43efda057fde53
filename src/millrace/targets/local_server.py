"""The server of a home, as programs on the same machine find it: its address, whether it is there, and the home's token."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from millrace.core.errors import InvalidState
from millrace.core.processes import is_alive

_PROBE_S = 2.0


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
        return ServerInfo(**json.loads((home / "server.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def find_server(home: Path) -> ServerInfo | None:
    """The server that runs on this home, or None. An address file that a killed server left behind is not believed."""
    info = read_info(home)
    if info is None or not is_alive(info.pid):
        return None
    status, body = probe(info, "/health/live")
    return info if status == 200 and body.get("instance") == info.instance else None  # noqa: PLR2004 - HTTP's OK


def probe(server: ServerInfo, path: str, token: str | None = None) -> tuple[int, dict[str, object]]:
    """GET a JSON object without waiting long: `(status, body)`, `(0, {})` where nobody answers."""
    connection = _connection(server)
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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    return context


def _connection(server: ServerInfo) -> http.client.HTTPConnection:
    place = urlsplit(server.url).netloc
    if server.certificate is None:
        return http.client.HTTPConnection(place, timeout=_PROBE_S)
    return http.client.HTTPSConnection(place, timeout=_PROBE_S, context=tls_context(server.certificate))


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
