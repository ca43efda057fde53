"""Running an ASGI application under uvicorn until SIGTERM, with the same choices in each process of a server."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import cast

import uvicorn
import uvloop
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from millrace.api import logs

_DRAIN_S = 1
_KEEP_ALIVE_S = 75
# Each connection is one; a process may usually have 1024 unless it asks for more.
_OPEN_FILES = 1 << 16


def run(process: str, main: Coroutine[None, None, None]) -> None:
    """Run a process's main coroutine on uvloop; its log goes to standard error, under the process's name."""
    logs.configure(process)
    _raise_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def _raise_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if resource.RLIM_INFINITY != soft < wanted:
        with suppress(OSError, ValueError):  # some systems have a lower limit still
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def configured(
    app: ASGIApp,
    *,
    path: Path | None = None,
    certificate: str | None = None,
    key: str | None = None,
    connection: Callable[..., asyncio.Protocol] | None = None,
) -> uvicorn.Config:
    """How uvicorn is run; the arguments are those of `serve`."""
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", connection or HttpToolsProtocol),  # it is only called
        uds=None if path is None else str(path),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
        reset_contextvars=True,  # a request that waits for another one is not logged as that one
    )


async def serve(
    app: ASGIApp,
    *,
    listener: socket.socket | None = None,
    path: Path | None = None,
    certificate: str | None = None,
    key: str | None = None,
    connection: Callable[..., asyncio.Protocol] | None = None,
) -> None:
    """Serve at an inherited listening socket or at a unix socket path, until SIGTERM; then finish within a second.

    With `certificate` and `key` (PEM files) it speaks TLS. `connection` makes connections in place of uvicorn's own.

    Idle connections are closed at once, running requests get a second. uvicorn raises the signal again when it has
    stopped, which would end the process before its own cleaning up, so that one is swallowed.
    """
    config = configured(app, path=path, certificate=certificate, key=key, connection=connection)
    signal.signal(signal.SIGTERM, lambda *_: None)
    await uvicorn.Server(config).serve(None if listener is None else [listener])
