"""Doors: listening sockets that the supervisor holds, and behind each a process that is there only while somebody needs it.

Who comes to a door waits in its queue until the process behind it has started, or has been replaced: nobody is sent away because it
is not there yet. One who only knocks wants it to start.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from pathlib import Path

_BACKLOG = 256


def open_door(path: Path) -> socket.socket:
    """Listen at a unix socket; a file that is there is replaced."""
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen(_BACKLOG)
    door.setblocking(False)  # the process behind it may be quicker to take who waits
    return door


def somebody_waits(door: socket.socket) -> bool:
    """Whether a connection was not taken yet."""
    return bool(select.select([door], [], [], 0)[0])


def send_away(door: socket.socket) -> None:
    """End the connections that wait: who waits is told, by their end, that nobody will come."""
    with suppress(BlockingIOError):
        while True:
            door.accept()[0].close()


def knock(path: Path) -> None:
    """Have the process behind a door start, where it is not there; nothing where there is no door."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(str(path))
