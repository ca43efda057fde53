"""What the workers' sockets tell of them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.api.channel import Absent, Gone, Message, ask
from millrace.api.runtime import worker_channel
from millrace.api.workers import Workers
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.types import Endpoint, EndpointName, EndpointState, LoadPlan

Listen = Callable[[int], socket.socket]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers here may be held up; one answers each command once."""
    monkeypatch.setattr("millrace.api.workers._QUICK_S", 60.0)


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


def test_who_is_there_and_did_not_seal_is_named(
    tmp_path: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(0)  # it is stalled: the connection waits for it
    answering = [_answers(listen(1), b"{}\n"), _answers(listen(2), b'{"error": "no", "hint": ""}\n')]

    def asked(where: Path, message: Message, timeout_s: float) -> dict[str, object]:
        return ask(where, message, 0.3 if where == worker_channel(tmp_path, 0) else timeout_s)

    monkeypatch.setattr("millrace.api.workers.ask", asked)  # nobody else is given up so soon
    assert Workers(tmp_path, 3).seal(60.0) == ["worker-0", "worker-2"]
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


_READY = b'{"ready": true}\n'


def _worker(listen: Listen, answers: Mapping[str, bytes], last: str) -> threading.Thread:
    """The worker of slot 0: answers commands, one connection each, and is gone when it has answered the last one."""
    listener = listen(0)

    def serve() -> None:
        asked = ""
        with listener:
            while asked != last:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as reader:
                    asked = json.loads(reader.readline())["do"]
                    connection.sendall(answers[asked])

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_worker_that_begins_anew_between_two_questions_is_asked_again(
    tmp_path: Path, listen: Listen, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = worker_channel(tmp_path, 0)
    leaving = _worker(listen, {"status": _READY}, "status")
    threads = [leaving]

    def asked(where: Path, message: Message, timeout_s: float) -> dict[str, object]:
        if message["do"] == "load" and threads == [leaving]:
            leaving.join()
            path.unlink()
            with pytest.raises(Absent) as absent:
                ask(where, message, timeout_s)
            threads.append(
                _worker(listen, {"status": _READY, "load": b'{"paths": {"churn-1": "onnx: equal"}}\n'}, "load")
            )
            raise absent.value
        return ask(where, message, timeout_s)

    monkeypatch.setattr("millrace.api.workers.ask", asked)
    assert Workers(tmp_path, 1).load(endpoint) == {"churn-1": "onnx: equal"}
    threads[1].join()


def test_a_worker_that_dies_of_a_model_is_not_asked_again(tmp_path: Path, listen: Listen, endpoint: Endpoint) -> None:
    dying = _worker(listen, {"status": _READY, "load": b""}, "load")
    with pytest.raises(Gone, match="stopped while it was asked"):
        Workers(tmp_path, 1).load(endpoint)
    dying.join()


@pytest.fixture
def endpoint() -> Endpoint:
    entity = served_entity("ml.models.churn", "1")
    plan = LoadPlan(entity, "/nowhere", "sklearn", (("x", "double"),), None)
    state, now = EndpointState(ready=True, config_update="NOT_UPDATING"), datetime(2025, 3, 10, tzinfo=UTC)
    return Endpoint(EndpointName("churn"), "id", 1, endpoint_config(entity), (plan,), None, state, now, now, "user:ada")
