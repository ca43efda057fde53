"""The process of one attempt, seen from the executor: its keeper, and the pipes to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from millrace.jobs.engine import keeper
from millrace.jobs.engine.fence import TOKEN, clear

# Beyond the grace, for a keeper to end what is left.
_MORE_S = 5.0


@dataclass
class Child:
    """A running attempt.

    Attributes:
        process: `HOST:TOKEN`.
        until_s: when its time-out is over, monotonic; None: never.
        reason: why it is being ended; empty where it is not.
    """

    process: str
    grace_s: float
    until_s: float | None
    reason: str = field(default="", init=False)
    _keeper: subprocess.Popen[bytes] = field(init=False)
    _lifeline: int = field(init=False)
    done: int = field(init=False)
    _killed_s: float = field(default=0.0, init=False)

    def start(self, program: Sequence[str], folder: Path, log: Path, fuse_s: float) -> None:
        """Start the program; its output goes to the end of the log.

        Raises:
            OSError: the system won't.
        """
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        read, self._lifeline = os.pipe()
        try:
            self.done, done = os.pipe()
        except OSError:
            os.close(read)
            os.close(self._lifeline)
            raise
        os.set_blocking(self._lifeline, False)
        command = [sys.executable, "-I", "-S", str(Path(keeper.__file__)), str(read), str(done)]
        try:
            with log.open("ab") as output:
                self._keeper = subprocess.Popen(  # noqa: S603 - what the executor was told to run
                    [*command, str(fuse_s), str(self.grace_s), *program],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    pass_fds=[read, done],
                    process_group=0,
                    env={**os.environ, "TZ": "UTC", "PYTHONUNBUFFERED": "1", TOKEN: self.process.rpartition(":")[2]},
                )
        except OSError:
            os.close(self._lifeline)
            os.close(self.done)
            raise
        finally:
            os.close(read)
            os.close(done)
        self._say(b"g")

    def beat(self) -> None:
        """Tell the keeper that the lease is still ours."""
        self._say(b"h")

    def end(self, reason: str) -> None:
        """Let it be ended: TERM, grace, KILL. Once is enough."""
        if not self.reason:
            self.reason, self._killed_s = reason, time.monotonic() + self.grace_s + _MORE_S
            self._say(b"t")

    def look(self) -> None:
        """Kill a keeper that takes too long to end its attempt."""
        if self.reason and time.monotonic() > self._killed_s:
            self._keeper.send_signal(signal.SIGKILL)

    def wait(self) -> int | None:
        """When `done` has ended: the exit code, and nothing of it is left. None where the keeper itself was killed."""
        code = self._keeper.wait()
        os.close(self._lifeline)
        os.close(self.done)
        if code < 0:
            clear(self.process)
            return None
        return code

    def _say(self, what: bytes) -> None:
        with suppress(BrokenPipeError, BlockingIOError, OSError):  # it has ended, or has enough to read
            os.write(self._lifeline, what)
