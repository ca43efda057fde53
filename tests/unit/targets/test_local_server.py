"""Whether a home has a server is told by its lock, whatever the server is doing."""

from __future__ import annotations

import errno
import fcntl
import inspect
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from millrace.api import discovery, supervisor
from millrace.api.runtime import ServerInfo, write_info
from millrace.core.errors import Conflict, InvalidState
from millrace.targets import local_server
from millrace.targets.local_server import find_server, is_served, only_server, read_info
from millrace.targets.running_server import _STOP_S, running_server

LIVE: dict[str, object] = {"status": "ok", "instance": "i"}


@contextmanager
def answering(answer: Callable[[str], object]) -> Iterator[ServerInfo]:
    """A server that answers each path so."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer(self.path)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Answers) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield ServerInfo(f"http://127.0.0.1:{listening.server_port}", os.getpid(), "i")
        listening.shutdown()
        thread.join()


@contextmanager
def silent() -> Iterator[ServerInfo]:
    """One that takes connections and answers none."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield ServerInfo(f"http://127.0.0.1:{listening.getsockname()[1]}", os.getpid(), "i")


def test_without_the_lock_there_is_none_and_nobody_is_asked(tmp_path: Path) -> None:
    assert find_server(tmp_path / "none") is None
    with only_server(tmp_path):
        pass
    with socket.create_server(("127.0.0.1", 0)) as left_behind:
        write_info(tmp_path, ServerInfo(f"http://127.0.0.1:{left_behind.getsockname()[1]}", os.getpid(), "i"))
        assert find_server(tmp_path) is None
        assert discovery.not_answered(tmp_path) == {}
        left_behind.setblocking(False)
        with pytest.raises(BlockingIOError):
            left_behind.accept()


def test_a_server_that_is_stalled_is_not_taken_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "_PATIENCE_S", 0.3)
    with silent() as stalled, only_server(tmp_path):
        write_info(tmp_path, stalled)
        for ask in (find_server, discovery.not_answered, lambda home: discovery.told_of(home, "e")):
            with pytest.raises(InvalidState, match="has a server, and it does not answer") as raised:
                ask(tmp_path)
            assert "logs/" in raised.value.hint
        with pytest.raises(InvalidState, match="does not answer"), running_server(tmp_path):
            pass
        assert not (tmp_path / "logs").exists()  # no second one was begun


def test_who_waits_for_a_stalled_server_is_told_for_what_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local_server, "_PATIENCE_S", 0.4)
    monkeypatch.setattr(local_server, "_QUIETLY_S", 0.1)
    with silent() as stalled, only_server(tmp_path):
        write_info(tmp_path, stalled)
        with pytest.raises(InvalidState, match="does not answer"):
            find_server(tmp_path)
    (line,) = caplog.messages
    assert line == f"the server of the home {tmp_path} does not answer yet: waiting 0 s more at most"


def test_a_server_that_is_slow_is_waited_for(tmp_path: Path) -> None:
    def slowly(_path: str) -> object:
        time.sleep(local_server._PROBE_S + 0.1)
        return LIVE

    with answering(slowly) as slow, only_server(tmp_path):
        write_info(tmp_path, slow)
        assert find_server(tmp_path) == slow


def test_a_server_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    with answering(lambda _path: LIVE) as starting, only_server(tmp_path):
        ready = threading.Timer(0.2, write_info, (tmp_path, starting))
        ready.start()
        assert find_server(tmp_path) == starting
        ready.join()


def test_a_server_that_stops_meanwhile_is_none(tmp_path: Path) -> None:
    with ExitStack() as stopping:
        stopping.enter_context(only_server(tmp_path))
        ended = threading.Timer(0.2, stopping.close)
        ended.start()
        assert find_server(tmp_path) is None
        ended.join()


def test_a_part_that_is_starting_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "_AGAIN_S", 0.01)
    asked: list[str] = []

    def without_control(path: str) -> object:
        asked.append(path)
        if path == "/health/live":
            return LIVE
        if len(asked) < 4:
            return {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "starting"}
        return {"not_ready": {"e": "why"}}

    with answering(without_control) as server, only_server(tmp_path):
        write_info(tmp_path, server)
        assert discovery.not_answered(tmp_path) == {"e": "why"}


@pytest.mark.parametrize("code", ["TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"])
def test_what_an_area_can_not_answer_is_not_all_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(local_server, "_PATIENCE_S", 8.0)
    probe = local_server.probe

    def patient(server: ServerInfo, path: str, token: str | None = None, timeout_s: float = 0.0) -> Any:
        return probe(server, path, token, timeout_s + 60)  # it does answer, however much this machine is held up

    monkeypatch.setattr(local_server, "probe", patient)

    def failing(path: str) -> object:
        return LIVE if path == "/health/live" else {"error_code": code, "message": "not now"}

    with answering(failing) as server, only_server(tmp_path):
        write_info(tmp_path, server)
        with pytest.raises(InvalidState, match="says: not now"):
            discovery.not_answered(tmp_path)


def test_a_server_that_stops_is_waited_for_by_who_wants_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed with its owner has no address any more, and the lock until its workers have ended."""
    monkeypatch.setattr(local_server, "_STOPPING_S", 60.0)
    with ExitStack() as stopping:
        stopping.enter_context(only_server(tmp_path))
        ended = threading.Timer(local_server._MOMENT_S + 0.5, stopping.close)
        ended.start()
        with only_server(tmp_path):
            assert is_served(tmp_path)
        ended.join()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with only_server(tmp_path):
        pass
    monkeypatch.setattr(fcntl, "flock", refused)
    for ask in (is_served, find_server, lambda home: only_server(home).__enter__()):
        with pytest.raises(InvalidState, match="the lock of the home") as raised:
            ask(tmp_path)
        assert "file system" in raised.value.hint


def test_a_lock_of_somebody_else_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with only_server(tmp_path):
        pass

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(InvalidState, match="Permission denied") as raised:
        is_served(tmp_path)
    assert "belong to you" in raised.value.hint


def test_a_home_has_one_server_which_begins_without_the_address_of_another(tmp_path: Path) -> None:
    write_info(tmp_path, ServerInfo("http://127.0.0.1:1", 1, "killed"))
    with only_server(tmp_path):
        assert read_info(tmp_path) is None
        write_info(tmp_path, ServerInfo("http://127.0.0.1:5010", 1, "i"))
        assert is_served(tmp_path)
        with pytest.raises(Conflict, match=r"served already at http://127\.0\.0\.1:5010"), only_server(tmp_path):
            pass
        assert read_info(tmp_path) is not None
    assert not is_served(tmp_path)


def test_who_looks_does_not_keep_a_server_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "_STOPPING_S", 60.0)
    lock = tmp_path / "server.lock"
    lock.touch()
    with lock.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        looked = threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN))
        looked.start()
        with only_server(tmp_path):
            assert is_served(tmp_path)
        looked.join()


def test_who_starts_a_server_waits_for_longer_than_that_waits_for_its_parts() -> None:
    patience_s = inspect.signature(running_server).parameters["timeout_s"].default
    assert patience_s > supervisor._READY_S


def test_who_ends_a_server_waits_for_longer_than_that_waits_for_its_parts() -> None:
    takes_s = supervisor._GRACE_S + supervisor._LAST_S
    assert takes_s < min(_STOP_S, local_server._STOPPING_S)
