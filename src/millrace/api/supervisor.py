"""The supervisor: owns the listening socket and the child processes, and nothing else.

One port, several processes: workers inherit the socket and answer; control has REST and MLflow; drain moves what was
captured into the lake; scheduler makes jobs run. The socket outlives each of them, so that requests wait while a dead worker is
replaced. All but the workers are there only while somebody needs them: the supervisor holds their doors (`doors.py`) and starts who
somebody waits for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from millrace.api import children, lifeline, logs
from millrace.api.channel import ask
from millrace.api.children import Child
from millrace.api.doors import Door
from millrace.api.errors import error_body
from millrace.api.listen import DEFAULT_HOST, DEFAULT_PORT, Tls, bind, local_url, own_names, tls_of, warn_where_exposed
from millrace.api.options import ChildOptions
from millrace.api.runtime import (
    control_socket,
    drain_channel,
    remove_info,
    remove_sockets,
    scheduler_door,
    socket_folder,
    worker_channel,
    write_info,
)
from millrace.core.errors import InvalidInput, InvalidState, MillraceError
from millrace.core.log_files import open_log
from millrace.core.settings import Settings
from millrace.targets.local_server import ServerInfo, home_token, only_server

_READY_S = 90.0
# For the workers; and then for the others, of which the drain may have to start first.
_GRACE_S, _LAST_S = 2.5, 5.0
_LOOK_S = 0.05
_ANSWER_S = 2.0
_ON_DEMAND = {"control": "control", "drain": "drain_loop", "scheduler": "scheduler"}


def serve(
    home: Path,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    workers: int = 1,
    hosts: Sequence[str] = (),
    tls: Tls | None = None,
    announce: Callable[[ServerInfo], None] = lambda _: None,
) -> None:
    """Serve a home until SIGINT, SIGTERM or SIGHUP; when it returns, no process is left.

    Args:
        home: the home directory; made where missing.
        host: the address to listen at; 0.0.0.0 is all of them. Anything but the loopback one should have TLS.
        port: 0 takes a free one.
        workers: processes that answer requests.
        hosts: names beside the loopback ones and `host` that requests may be addressed to.
        tls: certificate and key; None serves plain HTTP.
        announce: called once, when everything is up.

    Raises:
        InvalidInput: no such address or port, or a certificate that can't be used.
        Conflict: the home is being served already, or the port is in use.
        NewerHome: the home was written by a newer millrace.
        InvalidState: a part did not start.
    """
    if workers < 1:
        raise InvalidInput(f"{workers} workers can't serve", hint="give at least 1")
    certificate = None if tls is None else tls.check()
    warn_where_exposed(host, tls)
    settings = Settings.load(home)
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _stop_on_signals() as stop, only_server(settings.home), bind(host, port) as listener:
        info = ServerInfo(local_url(listener, tls), os.getpid(), secrets.token_hex(16), certificate)
        server = _Server(settings, info, workers, (*own_names(host), *hosts), tls)
        server.run(listener, stop, announce)


@dataclass(frozen=True)
class _Server:
    """One server: what its children are, and their life from start to stop."""

    settings: Settings
    info: ServerInfo
    workers: int
    hosts: tuple[str, ...]
    tls: Tls | None

    @property
    def home(self) -> Path:
        """The home directory."""
        return self.settings.home

    def run(self, listener: socket.socket, stop: threading.Event, announce: Callable[[ServerInfo], None]) -> None:
        """Start the children, replace those that die, and end them all when told to stop."""
        home_token(self.home)
        with self._doors() as doors, _lifeline() as (held, holding):
            base = self._options(held)
            workers = self._workers(base, listener.fileno())
            others = {name: self._behind(door, name, base) for name, door in doors.items()}
            try:
                self._start(workers, list(others.values()), stop)
                if not stop.is_set():
                    write_info(self.home, self.info)
                    announce(self.info)
                while not stop.wait(_LOOK_S):
                    _keep_alive([*workers, *others.values()])
            finally:
                remove_info(self.home, self.info.instance)
                _end(workers, others, holding)

    def _start(self, workers: Sequence[Child], others: Sequence[Child], stop: threading.Event) -> None:
        """Start the workers; returns when all are up, or when told to stop. The others are there for them meanwhile."""
        for child in workers:
            child.start()
        deadline = time.monotonic() + _READY_S
        while not stop.wait(_LOOK_S):
            for child in workers:
                if child.has_failed:
                    _open_home(self.settings)  # where that is the reason, it says so better
                    child.require_alive()
            _keep_alive(others)
            if all(map(_is_up, workers)):
                return
            if time.monotonic() > deadline:
                raise InvalidState(
                    f"the server was not ready after {_READY_S:.0f} seconds", hint="look at logs/ in the home"
                )

    def _options(self, lifeline_fd: int) -> ChildOptions:
        home, info, tls = self.home, self.info, self.tls
        return ChildOptions(
            str(home),
            str(socket_folder(home)),
            info.instance,
            info.url,
            self.workers,
            lifeline_fd,
            hosts=self.hosts,
            tls_certificate=None if tls is None else str(tls.certificate),
            tls_key=None if tls is None else str(tls.key),
        )

    def _workers(self, base: ChildOptions, listen_fd: int) -> list[Child]:
        slots = [replace(base, slot=slot, listen_fd=listen_fd) for slot in range(self.workers)]
        return [self._child(f"worker-{options.slot}", "worker", options) for options in slots]

    def _behind(self, door: Door, name: str, base: ChildOptions) -> Child:
        return self._child(name, _ON_DEMAND[name], replace(base, listen_fd=door.fileno()), door)

    @contextlib.contextmanager
    def _doors(self) -> Iterator[Mapping[str, Door]]:
        """The doors of the processes that are there on demand, by name."""
        folder = socket_folder(self.home)
        paths = {"control": control_socket(folder), "drain": drain_channel(folder), "scheduler": scheduler_door(folder)}
        with contextlib.ExitStack() as opened:
            opened.callback(remove_sockets, folder)
            yield {name: opened.enter_context(closing(Door(path, _farewell(name)))) for name, path in paths.items()}

    def _child(self, name: str, module: str, options: ChildOptions, door: Door | None = None) -> Child:
        return Child(name, f"millrace.api.{module}", options, open_log(self.home / "logs", name), door)


def _is_up(worker: Child) -> bool:
    """Whether it has loaded what is stored. Requests may come then: the socket is there."""
    options = worker.options
    try:
        return bool(ask(worker_channel(Path(options.sockets), options.slot), {"do": "status"}, _ANSWER_S)["ready"])
    except InvalidState:
        return False


def _keep_alive(running: Sequence[Child]) -> None:
    for child in running:
        child.keep_alive()


def _end(workers: Sequence[Child], others: Mapping[str, Child], holding: BinaryIO) -> None:
    """End the workers, then the others: a worker that captured something knocks at the drain's door, which moves it before it ends."""
    try:
        children.stop(workers, _GRACE_S)
        others["drain"].attend()
    finally:
        holding.close()  # each of them ends at the end of its lifeline, also one that is just starting
        _wait(others, time.monotonic() + _LAST_S)


def _wait(others: Mapping[str, Child], deadline: float) -> None:
    """Wait for the end of all; a drain that was just leaving by itself, and did not take who had knocked, is followed by another."""
    drain = others["drain"]
    children.wait([drain], deadline - time.monotonic())
    if drain.exit_code == 0 and time.monotonic() < deadline:
        drain.attend()
    children.wait(list(others.values()), deadline - time.monotonic())


@contextlib.contextmanager
def _lifeline() -> Iterator[tuple[int, BinaryIO]]:
    """The reading end of a pipe for the children, and the writing end."""
    held, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as holding:
            yield held, holding
    finally:
        os.close(held)


def _farewell(name: str) -> bytes:
    """What those are told who waited for a process in vain, in the words of its protocol."""
    said = f"the {name} process does not come"
    if name != "control":
        return json.dumps({"error": said, "hint": "look at the logs in the home"}).encode() + b"\n"
    body = json.dumps(error_body("TEMPORARILY_UNAVAILABLE", said, "try again; the server's logs have more")).encode()
    head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"{head}\r\nretry-after: 1\r\nconnection: close\r\n\r\n".encode() + body


def _open_home(settings: Settings) -> None:
    """Open the workspace database, as each child does for itself; raises what is wrong with it."""
    from millrace.database.engine import open_database

    open_database(settings.database_url).dispose()


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set; what they did before comes back at the end."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of a server that another program starts; people use `millrace up`."""
    parser = argparse.ArgumentParser(prog="millrace-server")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--host", default=DEFAULT_HOST)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--allow-host", action="append", default=[])
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--lifeline", type=int)
    given = parser.parse_args(argv)
    # The supervisor's own stop takes the children's grace and a little.
    lifeline.hold(given.lifeline, grace_s=_GRACE_S + _LAST_S + 1)
    logs.configure("supervisor")
    try:
        serve(
            given.home,
            host=given.host,
            port=given.port,
            workers=given.workers,
            hosts=given.allow_host,
            tls=tls_of(given.tls_cert, given.tls_key),
        )
    except MillraceError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
