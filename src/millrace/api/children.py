"""A server's child processes: started, watched, replaced, stopped."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from millrace.api.doors import Door
from millrace.api.options import ChildOptions
from millrace.core.errors import InvalidState

_SHOWN_LINES = 4
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_CALM_S = 10.0
# So long a process may take until it comes to its door; the next one twice as long, on a slow machine or with much to migrate.
_FIRST_START_S, _LONGEST_START_S = 90.0, 600.0
_log = logging.getLogger(__name__)


@dataclass
class Child:
    """One child, replaced when it dies, with growing pauses while it ends soon after its start.

    Attributes:
        name: also the name of its log.
        module: run as `python -m`.
        options: for its command line; its file descriptors are inherited.
        log: file that takes its output.
        door: where those who need it come. One that has a door is not there until somebody comes, and may end by itself (with code 0)
            when nobody needs it.
    """

    name: str
    module: str
    options: ChildOptions
    log: Path
    door: Door | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _starts: int = field(default=0, init=False)
    _started_s: float = field(default=-math.inf, init=False)
    _pause_s: float = field(default=_FIRST_PAUSE_S, init=False)
    _start_s: float = field(default=_FIRST_START_S, init=False)

    def start(self) -> None:
        """Start the process, in a group of its own: a Ctrl-C on the terminal is for the supervisor alone."""
        now = time.monotonic()
        self._pause_s = _FIRST_PAUSE_S if now - self._started_s > _CALM_S else min(self._pause_s * 2, _LONGEST_PAUSE_S)
        self._started_s = now
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
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether it has ended and should not have."""
        return self.exit_code is not None and not (self.door is not None and self.exit_code == 0)

    def keep_alive(self) -> None:
        """Replace the process if it has died, start it where somebody waits for it; what fails is tried again at a later call.

        Where somebody has waited for too long, nobody is let wait on: a process that does not come to its door is killed, unless it
        may still be starting.
        """
        try:
            if self.door is not None and self.door.is_neglected():
                self._give_up(self.door)
            if not self.is_running and self._is_wanted() and time.monotonic() - self._started_s >= self._pause_s:
                if self.has_failed:
                    _log.warning("%s ended with code %s and is started again", self.name, self.exit_code)
                self.start()
        except OSError:
            _log.exception("%s can't be started; it is tried again", self.name)

    def attend(self) -> None:
        """Start it at once where it is not there and somebody waits for it."""
        with suppress(OSError):
            if not self.is_running and self.door is not None and self.door.somebody_waits():
                self.start()

    def _give_up(self, door: Door) -> None:
        _log.error("%s does not come to those who wait for it: they are sent away", self.name)
        door.send_away()
        # Who only knocks has gone long before, and would have one that starts slowly killed at each start.
        if self.is_running and time.monotonic() - self._started_s > self._start_s:
            _log.error("%s is killed: it had the time to start", self.name)
            self._start_s = min(self._start_s * 2, _LONGEST_START_S)
            self.signal(signal.SIGKILL)

    def _is_wanted(self) -> bool:
        return self.has_failed or (self.door is not None and self.door.somebody_waits())

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
        if self._process is not None and self.is_running:
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
    wait(children, grace_s)


def wait(children: Sequence[Child], grace_s: float) -> None:
    """Wait for the end of all children, which were told; after the grace SIGKILL. When it returns, none is left."""
    deadline = time.monotonic() + grace_s
    while any(child.is_running for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    for child in children:
        child.signal(signal.SIGKILL)
        if child._process is not None:  # noqa: SLF001 - same module
            child._process.wait()  # noqa: SLF001 - same module
