"""The worker's side of the process that reads Parquet."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from typing import Final

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.body import PLAIN, Body, Envelope, NotNow, TooLarge, unreadable
from millrace.serving.bodies.parquet import process

_LOG = logging.getLogger(__name__)
_START_S, _ANSWER_S, _END_S = 60.0, 30.0, 1.0
_IDLE_S = 30.0
# Nothing else of the worker's is to be where hostile bytes are read: settings may hold passwords.
_KEPT = frozenset({"PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR"})
# No library is to start threads, and what a body took is to go back to the system.
_ADDED = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "131072",
}


class _Killed(NotNow):
    """Somebody else has ended the process: that says nothing of the body."""


class ParquetReader:
    """Makes Arrow streams of Parquet files, in a process that is there while it is needed. Thread-safe: one file at a time.

    Args:
        now_s: tells for how long nobody has needed it; only differences count.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s, self._asked_s = now_s, now_s()
        self._process: _Process | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process's number; None where there is none."""
        return None if self._process is None else self._process.pid

    def as_arrow_stream(self, raw: bytes, most_bytes: int) -> bytes:
        """See `unpacking.as_arrow_stream`; it waits for those who came before.

        Raises:
            InvalidInput: it can't be read; reading it may also have ended the process.
            TooLarge: it is over the limit, or takes more time than it may.
            NotNow: the process can't be started, stands still, or is killed by others again and again.
        """
        with self._lock:
            try:
                return self._ask(raw, most_bytes)
            except _Killed:
                return self._ask(raw, most_bytes)
            finally:
                self._asked_s = self._now_s()

    def _ask(self, raw: bytes, most_bytes: int) -> bytes:
        if self._process is None or not self._process.is_running:
            self._process = None  # before another one is there
            self._process = _Process()
        return self._process.ask(raw, most_bytes)

    def rest(self) -> None:
        """End the process where nobody has needed it for a while. Does not wait for who is using it."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._process is not None and self._now_s() - self._asked_s > _IDLE_S:
                self._process.end()
                self._process = None
        finally:
            self._lock.release()


class _Process:
    """One process. It ends when nobody holds this object, and when this process ends.

    Raises:
        NotNow: it can't be started.
    """

    def __init__(self) -> None:
        try:
            self._started, self._connection = _start()
        except OSError as error:
            raise NotNow("no process can be started") from error
        self._answers = self._connection.makefile("rb")
        self.end = weakref.finalize(self, _end, self._started, self._connection, self._answers)
        self._await_start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._started.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._started.poll() is None

    def _await_start(self) -> None:
        self._connection.settimeout(_START_S)
        try:
            ready = self._answers.read(len(process.READY))
        except OSError:
            ready = b""
        if ready != process.READY:
            self.end()
            raise NotNow("the process that reads Parquet can't be started")

    def ask(self, raw: bytes, most_bytes: int) -> bytes:
        """See `ParquetReader.as_arrow_stream`."""
        kind, content = self._asked(raw, most_bytes)
        if kind == process.TOO_LARGE:
            raise TooLarge
        if kind == process.REFUSED:
            message, hint = json.loads(content)
            raise InvalidInput(message, hint=hint)
        return content

    def _asked(self, raw: bytes, most_bytes: int) -> tuple[bytes, bytes]:
        self._connection.settimeout(_ANSWER_S)
        try:
            self._connection.sendall(process.REQUEST.pack(most_bytes, len(raw)))
            self._connection.sendall(raw)
            kind, length = process.ANSWER.unpack(self._answers.read(process.ANSWER.size))
            content = self._answers.read(length) if length <= process.longest(most_bytes) else b""
        except TimeoutError:
            self.end()
            raise NotNow("the process that reads Parquet stands still") from None
        except (OSError, struct.error):
            raise self._died() from None
        if len(content) < length:
            raise self._died()
        return kind, content

    def _died(self) -> InvalidInput | TooLarge | _Killed:
        """What it means that the process ended over a body."""
        with suppress(subprocess.TimeoutExpired):
            self._started.wait(_END_S)
        self.end()
        code = self._started.returncode
        _LOG.warning("the process that reads Parquet ended over a body (code %s), and is replaced", code)
        if code == -signal.SIGKILL:  # no body does that
            return _Killed("the process that reads Parquet was killed")
        return TooLarge() if code == -signal.SIGXCPU else unreadable("a Parquet file")


def _start() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A process, and the connection to it."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("PYTHON")}
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            started = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", process.__name__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                process_group=0,
                env=kept | _ADDED,
            )
        except OSError:
            ours.close()
            raise
    return started, ours


def _end(started: subprocess.Popen[bytes], connection: socket.socket, answers: BufferedReader) -> None:
    answers.close()
    connection.close()
    started.kill()  # it keeps nothing that could be lost
    started.wait()


READER: Final = ParquetReader()
"""That of this process."""


def read_parquet(raw: bytes, envelope: Envelope = PLAIN) -> Body:
    """Read a Parquet file. Raises as `read_arrow_stream`, and NotNow."""
    from millrace.serving.bodies.arrow_body import read_arrow_stream

    return read_arrow_stream(READER.as_arrow_stream(raw, envelope.most_bytes), envelope)
