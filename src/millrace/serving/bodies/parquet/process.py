"""The process that reads Parquet for a worker, which asks it over its standard input, one body after the other.

Few bytes may make pyarrow take any amount of memory or time, or end the process. This one has so much of both for a body, and
holds nothing that could be lost.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.body import TooLarge

READY = b"!"
# The most that a body may unpack to, and its length; what an answer is, and its length.
REQUEST, ANSWER = struct.Struct("<QQ"), struct.Struct("<cQ")
STREAM, REFUSED, TOO_LARGE = b"s", b"r", b"l"
# The body, its pages, its values once in chunks and once in one, and the answer, each with some of what it takes to make it.
_ROOM_BYTES, _ROOM_TIMES = 32 << 20, 6
_LONGEST_S = 3  # of a processor's time
_STATM = Path("/proc/self/statm")
_DATA = 5  # of its numbers
_LONGEST_TIMES, _LONGEST_MORE = 2, 1 << 20
Unpack = Callable[[bytes, int], bytes]


def longest(most_bytes: int) -> int:
    """How long an answer may be: values that take no more than this, what says which are null, and names."""
    return _LONGEST_TIMES * most_bytes + _LONGEST_MORE


def main() -> None:
    """Answer until the worker is gone."""
    from millrace.serving.bodies.parquet.unpacking import as_arrow_stream

    for number in (signal.SIGINT, signal.SIGTERM):  # are for the worker, with which it ends
        signal.signal(number, signal.SIG_IGN)
    _limit(resource.RLIMIT_CORE, 0)
    own_bytes = _data_bytes()
    with (
        suppress(ConnectionError),  # the worker is gone in the middle of it
        socket.socket(fileno=sys.stdin.fileno()) as worker,
        worker.makefile("rb") as asked,
    ):
        worker.sendall(READY)
        while head := asked.read(REQUEST.size):
            most_bytes, length = REQUEST.unpack(head)
            if own_bytes is not None:
                _limit(resource.RLIMIT_DATA, own_bytes + _ROOM_BYTES + _ROOM_TIMES * most_bytes)
            _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + _LONGEST_S)
            kind, content = _answer(as_arrow_stream, asked.read(length), most_bytes)
            worker.sendall(ANSWER.pack(kind, len(content)))
            worker.sendall(content)


def _answer(unpack: Unpack, raw: bytes, most_bytes: int) -> tuple[bytes, bytes]:
    try:
        stream = unpack(raw, most_bytes)
    except InvalidInput as error:
        return REFUSED, json.dumps([error.message, error.hint]).encode()
    except TooLarge:
        return TOO_LARGE, b""
    return (STREAM, stream) if len(stream) <= longest(most_bytes) else (TOO_LARGE, b"")


def _limit(what: int, most: int) -> None:
    _, hardest = resource.getrlimit(what)
    resource.setrlimit(what, (most if hardest == resource.RLIM_INFINITY else min(most, hardest), hardest))


def _data_bytes() -> int | None:
    """What the process has of what RLIMIT_DATA bounds; None where the system is not Linux, and bounds nothing so."""
    if not _STATM.exists():
        return None
    return int(_STATM.read_text().split()[_DATA]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
