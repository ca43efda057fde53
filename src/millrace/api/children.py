"""A server's child processes: started, watched, replaced, stopped."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from millrace.api.doors import send_away, somebody_waits
from millrace.api.options import ChildOptions
from millrace.core.errors import InvalidState

_SHOWN_LINES = 4
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_CALM_S = 10.0
_HOPELESS_S = 2.0
_log = logging.getLogger(__name__)


@dataclass
class Child:
    """One child, replaced when it dies, with growing pauses while it dies soon after its start.

    Attributes:
        name: also the name of its log.
        module: run as `python -m`.
        options: for its command line; its file descriptors are inherited.
        log: file that takes its output.
        door: where those who need it come. One that has a door is not there until somebody comes, and may end by itself (with code 0)
            when nobody has come for a while.
    """

    name: str
    module: str
    options: ChildOptions
    log: Path
    door: socket.socket | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _starts: int = field(default=0, init=False)
    _started_s: float = field(default=0.0, init=False)
    _pause_s: float = field(default=_FIRST_PAUSE_S, init=False)

    def start(self) -> None:
        """Start the process, in a group of its own: a Ctrl-C on the terminal is for the supervisor alone."""
        self._started_s = time.monotonic()
        inherited = [fd for fd in (self.options.lifeline_fd, self.options.listen_fd) if fd is not None]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", self.module, replace(self.options, restarts=self._starts).text()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=inherited,
                process_group=0,
                env={**os.environ, "TZ": "UTC"},
            )
        self._starts += 1

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def has_failed(self) -> bool:
        """Whether it has ended and should not have."""
        return self.exit_code is not None and not self.is_resting

    @property
    def is_resting(self) -> bool:
        """Whether it is not there because nobody needs it."""
        return self.door is not None and (self._process is None or self.exit_code == 0)

    def keep_alive(self) -> None:
        """Replace the process if it has died and the pause since then is over; start it where somebody waits for it."""
        if self.is_resting:
            self._start_for_who_waits()
        if not self.has_failed:
            return
        now = time.monotonic()
        if now - self._started_s > _CALM_S:
            self._pause_s = _FIRST_PAUSE_S
        if now - self._started_s >= self._pause_s:
            if self.door is not None and self._pause_s > _HOPELESS_S:
                send_away(self.door)
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            _log.warning("%s ended with code %s and is started again", self.name, self.exit_code)
            self.start()

    def _start_for_who_waits(self) -> None:
        assert self.door is not None  # noqa: S101 - else it does not rest
        if somebody_waits(self.door):
            self._pause_s = _FIRST_PAUSE_S
            self.start()

    def require_alive(self) -> None:
        """Raise InvalidState with the end of its log where it has died."""
        if self.has_failed:
            lines = self.log.read_text(errors="replace").strip().splitlines()[-_SHOWN_LINES:]
            raise InvalidState(
                f"the server's {self.name} process ended while it was starting: {' | '.join(map(_said, lines))}",
                hint=f"the whole log is {self.log}",
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def _said(line: str) -> str:
    """What a line of a log says to a person: its message and error where it is JSON."""
    try:
        said = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict):
        return line
    return ": ".join(str(said[part]) for part in ("message", "error") if part in said)


def stop(children: Sequence[Child], grace_s: float) -> None:
    """End all children: SIGTERM, and after the grace SIGKILL. When it returns, none is left."""
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(child.exit_code is None and child._process for child in children) and time.monotonic() < deadline:  # noqa: SLF001 - same module
        time.sleep(0.02)
    for child in children:
        child.signal(signal.SIGKILL)
        if child._process is not None:  # noqa: SLF001 - same module
            child._process.wait()  # noqa: SLF001 - same module
