"""Programs of our own beside a search, and the socket between: started anew, never forked. They end when their parent does."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import IO


def started(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] = MappingProxyType({}),
    errors: IO[bytes] | int = subprocess.DEVNULL,
) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start `python -m module FD arguments`, whose other end of the channel is FD.

    Args:
        module: its name.
        arguments: what it is given besides.
        environment: what it gets besides our own environment.
        errors: where its standard error goes.
    """
    ours, theirs = socket.socketpair()
    with theirs, ExitStack() as undone:
        undone.enter_context(ours)
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **environment},
        )
        undone.pop_all()
    return process, Connection(ours.detach())


def listening(descriptor: int) -> tuple[Connection, queue.SimpleQueue[object]]:
    """In the program: the channel to its parent, and what the parent says, from now on. Ends the program when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    channel, said = Connection(descriptor), queue.SimpleQueue[object]()
    threading.Thread(target=_receive, args=(channel, said), daemon=True).start()
    return channel, said


def _receive(channel: Connection, said: queue.SimpleQueue[object]) -> None:
    """A thread of its own, so that work, which may take minutes, ends with the parent too."""
    ended = 1
    try:
        while True:
            said.put(channel.recv())
    except (EOFError, OSError):
        ended = 0
    except BaseException:
        traceback.print_exc()  # what can't be read: nobody would notice the parent's end from now on
        raise
    finally:
        sys.stderr.flush()
        os._exit(ended)
