"""Who sealed what it captured, as the workers' sockets tell it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from millrace.api.runtime import worker_channel
from millrace.api.workers import Workers

Listen = Callable[[int], socket.socket]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Listens where the worker of a slot does."""
    with ExitStack() as stack:

        def at(slot: int) -> socket.socket:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(worker_channel(tmp_path, slot)))
            listener.listen(1)
            return listener

        yield at


def _answers(listener: socket.socket, answer: bytes) -> threading.Thread:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as reader:
            reader.readline()
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_who_is_there_and_did_not_seal_is_named(tmp_path: Path, listen: Listen) -> None:
    listen(0)  # it is stalled: the connection waits for it
    answering = [_answers(listen(1), b"{}\n"), _answers(listen(2), b'{"error": "no", "hint": ""}\n')]
    assert Workers(tmp_path, 3).seal(0.3) == ["worker-0", "worker-2"]
    for thread in answering:
        thread.join()


def test_a_worker_that_is_gone_is_not_waited_for(tmp_path: Path, listen: Listen) -> None:
    listen(0).close()  # a killed one leaves its socket
    dying = _answers(listen(1), b"")
    assert Workers(tmp_path, 3).seal(60.0) == []
    dying.join()


def test_a_stalled_worker_with_a_full_queue_is_there(tmp_path: Path, listen: Listen) -> None:
    listen(0)
    with ExitStack() as stack:
        for _ in range(2):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.connect(str(worker_channel(tmp_path, 0)))
        assert Workers(tmp_path, 1).seal(0.3) == ["worker-0"]
