"""The supervisor: owns the listening socket and the child processes, and nothing else.

One port, several processes: workers inherit the socket and answer; control has REST and MLflow; drain moves what was
captured into the lake; scheduler makes jobs run. The socket outlives each of them, so that requests wait while a dead worker is
replaced. Control and drain are there only while somebody needs them: the supervisor holds their doors (`doors.py`) and starts who
somebody waits for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from millrace.api import children, lifeline, logs
from millrace.api.auth import home_token
from millrace.api.children import Child
from millrace.api.doors import open_door
from millrace.api.listen import DEFAULT_HOST, DEFAULT_PORT, Tls, bind, local_url, own_names, tls_of, warn_where_exposed
from millrace.api.options import ChildOptions
from millrace.api.runtime import control_socket, drain_channel, remove_info, remove_sockets, socket_folder, write_info
from millrace.core.errors import InvalidInput, InvalidState, MillraceError
from millrace.core.log_files import open_log
from millrace.core.settings import Settings
from millrace.targets.local_server import ServerInfo, only_server, probe

_READY_S = 90.0
_GRACE_S = 2.5
_LOOK_S = 0.05
_OK = 200


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
        folder = socket_folder(self.home)
        lifeline_fd, held = os.pipe()
        base = ChildOptions(
            str(self.home), str(folder), self.info.instance, self.info.url, self.workers, lifeline_fd, hosts=self.hosts
        )
        if self.tls is not None:
            base = replace(base, tls_certificate=str(self.tls.certificate), tls_key=str(self.tls.key))
        workers, others = self._workers(base, listener.fileno()), self._others(base, folder)
        try:
            self._start(workers, stop)
            if not stop.is_set():
                write_info(self.home, self.info)
                announce(self.info)
                for child in others:
                    if child.door is None:  # the rest start when they are needed
                        child.start()
            while not stop.wait(_LOOK_S):
                for child in (*workers, *others):
                    child.keep_alive()
        finally:
            remove_info(self.home, self.info.instance)
            children.stop([*workers, *others], _GRACE_S)
            os.close(lifeline_fd)
            os.close(held)
            for child in others:
                if child.door is not None:
                    child.door.close()
            remove_sockets(folder)

    def _start(self, workers: Sequence[Child], stop: threading.Event) -> None:
        """Start the workers; returns when all are up, or when told to stop."""
        for child in workers:
            child.start()
        if not self._wait("/health/started", workers, stop, _READY_S):
            raise InvalidState(
                f"the server was not ready after {_READY_S:.0f} seconds", hint="look at logs/ in the home"
            )

    def _wait(self, path: str, running: Sequence[Child], stop: threading.Event, patience_s: float) -> bool:
        """Wait until the path answers with 200 or we are told to stop; False where that takes too long."""
        deadline = time.monotonic() + patience_s
        while not stop.wait(_LOOK_S):
            for child in running:
                if child.has_failed:
                    _open_home(self.settings)  # where that is the reason, it says so better
                    child.require_alive()
            if probe(self.info, path)[0] == _OK:
                return True
            if time.monotonic() > deadline:
                return False
        return True

    def _workers(self, base: ChildOptions, listen_fd: int) -> list[Child]:
        slots = [replace(base, slot=slot, listen_fd=listen_fd) for slot in range(self.workers)]
        return [self._child(f"worker-{options.slot}", "worker", options) for options in slots]

    def _others(self, base: ChildOptions, folder: Path) -> list[Child]:
        control, drain = open_door(control_socket(folder)), open_door(drain_channel(folder))
        return [
            self._child("control", "control", replace(base, listen_fd=control.fileno()), control),
            self._child("drain", "drain_loop", replace(base, listen_fd=drain.fileno()), drain),
            self._child("scheduler", "scheduler", base),
        ]

    def _child(self, name: str, module: str, options: ChildOptions, door: socket.socket | None = None) -> Child:
        return Child(name, f"millrace.api.{module}", options, open_log(self.home / "logs", name), door)


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
    lifeline.hold(given.lifeline, grace_s=_GRACE_S * 2)
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
