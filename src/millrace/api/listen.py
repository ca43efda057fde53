"""Where a server listens: the address, the listening socket, TLS, and what is said where that is open to others."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from millrace.core.errors import Conflict, InvalidInput, UsageError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 5010
_LAST_PORT = 65535
_BACKLOG = 2048
# A worker that was just starting when its supervisor was killed notices that within about a second.
_LEAVING_S, _LOOK_S = 2.0, 0.05
_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate with its chain, and its key: PEM files. They are read at the start; a renewed one counts after the next."""

    certificate: Path
    key: Path

    def check(self) -> str:
        """The server's own certificate, as PEM.

        Raises:
            InvalidInput: a file can't be read, the key is encrypted, or the two do not belong together.
        """
        try:
            import ssl  # a server without TLS does without it

            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, password=lambda: b"")
            text = self.certificate.read_text()
        except (OSError, ValueError) as error:  # ssl's errors are among them
            raise InvalidInput(
                f"TLS can't be had from {self.certificate} and {self.key}: {getattr(error, 'strerror', None) or error}",
                hint="give PEM files: a certificate (its chain after it), and its key, which has no password",
            ) from error
        return text[text.index("-----BEGIN CERTIFICATE-----") : text.index(_END)] + _END + "\n"


def tls_of(certificate: Path | None, key: Path | None) -> Tls | None:
    """From two options, which belong together. Raises UsageError where one is missing."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS takes a certificate and its key", hint="give both --tls-cert FILE and --tls-key FILE")
    return Tls(certificate.absolute(), key.absolute())


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket.

    Raises:
        InvalidInput: no such port, or no such address.
        Conflict: somebody else has it, or it is not an address of this machine.
    """
    if not 0 <= port <= _LAST_PORT:
        raise InvalidInput(f"{port} is not a port", hint=f"give a number up to {_LAST_PORT}, or 0 for a free port")
    family, address = _resolve(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        _take(listener, address)
    except OSError as error:
        listener.close()
        raise Conflict(
            f"port {port} of {host} can't be used: {error.strerror}",
            hint="choose another with --port, or --port 0; --host takes an address of this machine",
            port=port,
        ) from error
    listener.listen(_BACKLOG)
    return listener


def _take(listener: socket.socket, address: tuple[str, int]) -> None:
    """Bind it; what is left of a server that was killed a moment ago is waited for."""
    deadline = time.monotonic() + _LEAVING_S
    while True:
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def local_url(listener: socket.socket, tls: Tls | None) -> str:
    """How programs on this machine reach the socket; one that listens at all addresses is asked at the loopback one."""
    address, port = listener.getsockname()[:2]
    ip = ipaddress.ip_address(address)
    if ip.is_unspecified:
        address = DEFAULT_HOST if ip.version == 4 else "::1"  # noqa: PLR2004 - IPv4
    return f"{'https' if tls else 'http'}://{_in_url(address)}:{port}"


def own_names(host: str) -> tuple[str, ...]:
    """What a Host header may say beside the loopback names: what is listened at, by name and number, where that is one."""
    return () if is_wildcard(host) else (_in_url(host), _in_url(_resolve(host, 0)[1][0]))


def is_wildcard(host: str) -> bool:
    """Whether that is all addresses of the machine."""
    return ipaddress.ip_address(_resolve(host, 0)[1][0]).is_unspecified


def warn_where_exposed(host: str, tls: Tls | None) -> None:
    """Say on standard error, with the fix, that others on the network can read what is sent: tokens and data."""
    if tls is None and not ipaddress.ip_address(_resolve(host, 0)[1][0]).is_loopback:
        sys.stderr.write(
            f"warning: {host} is not only this machine, and there is no TLS: tokens and data can be read on the way\n"
            "  hint: add --tls-cert FILE --tls-key FILE, or leave --host out and put a proxy with TLS in front\n"
        )


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise InvalidInput(
            f"'{host}' is no address", hint="give one of this machine's, or 0.0.0.0 for all of them", host=host
        ) from error
    return family, (str(address[0]), int(address[1]))


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
