"""Doors: listening sockets that the supervisor holds, and behind each a process that is there only while somebody needs it.

Who comes to a door waits in its queue until the process behind it has started, or has been replaced: nobody is sent away because it
is not there yet. One who only knocks wants it to start. Nobody waits for ever: who has waited for half a minute is sent away.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from pathlib import Path

# Also for who takes connections at it: listening again sets it anew.
BACKLOG = 4096
_PATIENCE_S = 30.0
# Of the time between two looks this much counts: who looks may have been held up himself.
_LOOK_S = 1.0
_ASKED = 1 << 16


class Door:
    """A listening unix socket; a file that is there is replaced.

    Args:
        path: of the socket.
        farewell: what those are told who are sent away.
        patience_s: how long somebody may wait.
    """

    def __init__(self, path: Path, farewell: bytes = b"", patience_s: float = _PATIENCE_S) -> None:
        self._farewell, self._patience_s = farewell, patience_s
        self._waited_s, self._looked_s = 0.0, time.monotonic()
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(str(path))
            self._socket.listen(BACKLOG)
            self._socket.setblocking(False)  # the process behind it may be quicker to take who waits
            self._queue = select.poll()
            self._queue.register(self._socket, select.POLLIN)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Of the socket, for the process behind it to inherit."""
        return self._socket.fileno()

    def somebody_waits(self) -> bool:
        """Whether a connection was not taken yet."""
        return bool(self._queue.poll(0))

    def is_neglected(self) -> bool:
        """Whether there was somebody waiting at each look of half a minute."""
        now = time.monotonic()
        since, self._looked_s = min(now - self._looked_s, _LOOK_S), now
        self._waited_s = self._waited_s + since if self.somebody_waits() else 0.0
        return self._waited_s > self._patience_s

    def send_away(self) -> None:
        """End the connections that wait, and tell them so."""
        self._waited_s = 0.0
        with suppress(OSError):  # nobody is there any more; or no more files can be opened, and the next time has to do
            while True:
                connection = self._socket.accept()[0]
                with connection, suppress(OSError):
                    self._part_with(connection)

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def _part_with(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with suppress(BlockingIOError):
            connection.recv(_ASKED)  # what is left unread may cost the answer
        connection.send(self._farewell)


def knock(path: Path) -> None:
    """Have the process behind a door start, where it is not there; nothing where there is no door."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(str(path))
