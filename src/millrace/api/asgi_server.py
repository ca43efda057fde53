"""Running an ASGI application under uvicorn until SIGTERM, with the same choices in each process of a server."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TypeVar, cast

import uvicorn
import uvloop
from starlette.types import ASGIApp

from millrace.api import logs
from millrace.api.attendance import Attendance
from millrace.api.connections import Connection

T = TypeVar("T")
_DRAIN_S = 1
_LOOK_S = 1.0
_KEEP_ALIVE_S = 75
# Each connection is one; a process may usually have 1024 unless it asks for more.
_OPEN_FILES = 1 << 16


def run(process: str, main: Coroutine[None, None, T]) -> T:
    """Run a process's main coroutine on uvloop, and return what it does; its log goes to standard error, under the process's name."""
    logs.configure(process)
    _raise_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _raise_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if resource.RLIM_INFINITY != soft < wanted:
        with suppress(OSError, ValueError):  # some systems have a lower limit still
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def configured(
    app: ASGIApp,
    *,
    certificate: str | None = None,
    key: str | None = None,
    connection: Callable[..., asyncio.Protocol] | None = None,
) -> uvicorn.Config:
    """How uvicorn is run; the arguments are those of `serve`."""
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", connection or Connection),  # it is only called
        ws="none",  # nobody here speaks it, and what reads it takes a moment of each start
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
    listener: socket.socket,
    certificate: str | None = None,
    key: str | None = None,
    connection: Callable[..., asyncio.Protocol] | None = None,
    attendance: Attendance | None = None,
) -> bool:
    """Serve at an inherited listening socket until SIGTERM, or until the attendance is over; then finish within a second.

    Returns whether it was the attendance.

    With `certificate` and `key` (PEM files) it speaks TLS. `connection` makes connections in place of `Connection`.

    Idle connections are closed at once, running requests get a second. uvicorn raises the signal again when it has
    stopped, which would end the process before its own cleaning up, so that one is swallowed.
    """
    server = uvicorn.Server(configured(app, certificate=certificate, key=key, connection=connection))
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    with listener.dup() as door:
        ending = None if attendance is None else asyncio.create_task(_leave(server, attendance, door))
        try:
            await server.serve([listener])
        finally:
            if ending is not None:
                ending.cancel()
    # Who is told to end while he leaves of himself is told to end.
    return ending is not None and ending.done() and not told


async def _leave(server: uvicorn.Server, attendance: Attendance, door: socket.socket) -> None:
    """Leave when nobody needs us. Who comes from then on waits for our successor; for who was let in at the last moment we stay."""
    while True:
        await asyncio.sleep(_LOOK_S)
        # A connection that is kept for the next request is somebody, too.
        if not server.started or server.server_state.connections or not await attendance.is_over():
            continue
        for listening in server.servers:
            listening.close()
        if await attendance.is_over_behind_closed_doors() and not server.server_state.connections:
            server.should_exit = True
            return
        await server.startup([door.dup()])
