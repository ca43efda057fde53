"""Processes that are there on demand: who comes waits for them, and nobody is let down when they come and go."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace.api.attendance import Attendance
from millrace.api.channel import Unanswered, ask
from millrace.api.children import Child, open_log, stop
from millrace.api.doors import knock, open_door, send_away, somebody_waits
from millrace.api.options import ChildOptions

# Answers each line that comes to its door; ends well when it is told to, and dies of "die".
_BEHIND = """
import json, os, socket, sys
door = socket.socket(fileno=json.loads(sys.argv[1])["listen_fd"])
door.setblocking(True)
while True:
    connection, _ = door.accept()
    line = connection.makefile("rb").readline()
    if line:
        what = json.loads(line)["do"]
        if what == "die":
            os._exit(3)
        connection.sendall(b'{"pid": %d}\\n' % os.getpid())
    connection.close()
    if not line or what == "end":
        sys.exit(0)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "door.sock"


@pytest.fixture
def door(path: Path) -> Iterator[socket.socket]:
    with open_door(path) as opened:
        yield opened


def _child(tmp_path: Path, door: socket.socket, code: str, monkeypatch: pytest.MonkeyPatch) -> Child:
    (tmp_path / "behindcode.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = ChildOptions("/home", "/sockets", "instance", "http://127.0.0.1:1", listen_fd=door.fileno())
    return Child("test", "behindcode", options, open_log(tmp_path, "test"), door)


@pytest.fixture
def child(tmp_path: Path, door: socket.socket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    made = _child(tmp_path, door, _BEHIND, monkeypatch)
    yield made
    stop([made], 5)


def _kept_alive(child: Child, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not until():
        child.keep_alive()
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def _asked(child: Child, path: Path, what: str) -> dict[str, object]:
    """Ask while the child is kept alive, as the supervisor does."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, path, {"do": what}, 20)
        _kept_alive(child, asking.done)
        return asking.result()


def test_it_starts_for_who_comes_and_again_after_its_end(child: Child, path: Path) -> None:
    for _ in range(5):
        child.keep_alive()
    assert (child.exit_code, child.is_resting, child.has_failed) == (None, True, False)
    first = _asked(child, path, "stay")["pid"]
    assert _asked(child, path, "end")["pid"] == first
    _kept_alive(child, lambda: child.exit_code == 0)
    assert (child.is_resting, child.has_failed) == (True, False)
    assert _asked(child, path, "stay")["pid"] != first


def test_who_knocks_has_it_start(child: Child, path: Path) -> None:
    knock(path.with_name("no door.sock"))  # nothing
    knock(path)
    _kept_alive(child, lambda: child.exit_code == 0)  # it heard, and ended


def test_one_that_dies_is_replaced_and_who_came_meanwhile_is_answered(child: Child, path: Path) -> None:
    with pytest.raises(Unanswered, match="stopped while it was asked"):
        _asked(child, path, "die")
    assert child.exit_code in (None, 3)
    assert _asked(child, path, "stay")["pid"]


def test_where_it_can_not_start_nobody_waits_forever(
    tmp_path: Path, door: socket.socket, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.api.children._HOPELESS_S", 0.15)
    child = _child(tmp_path, door, "raise SystemExit(1)", monkeypatch)
    with pytest.raises(Unanswered):
        _asked(child, path, "stay")
    stop([child], 5)


def test_who_waits_is_seen_and_sent_away(door: socket.socket, path: Path) -> None:
    assert not somebody_waits(door)
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(path))
        assert somebody_waits(door)
        send_away(door)
        assert (one.recv(1), somebody_waits(door)) == (b"", False)


def test_a_door_takes_the_place_of_an_old_one(path: Path) -> None:
    path.write_text("")
    open_door(path).close()
    assert path.is_socket()


class _Home:
    """Counts how often it was asked whether there is something to do."""

    def __init__(self) -> None:
        self.busy, self.looks = True, 0

    def at_rest(self) -> bool:
        self.looks += 1
        return not self.busy


def test_it_is_over_when_nobody_has_asked_and_nothing_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.api.attendance._LOOK_S", 0.01)

    async def story() -> None:
        home, answer = _Home(), asyncio.Event()

        async def app(*_: object) -> None:
            await answer.wait()

        attended = Attendance(app, home.at_rest, 0.05)
        over = asyncio.create_task(attended.over())
        asking = asyncio.create_task(attended({"type": "http"}, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
        assert (over.done(), home.looks) == (False, 0)  # somebody asks
        answer.set()
        await asking
        await attended.answered()
        await asyncio.sleep(0.2)
        assert not over.done()  # there is something to do
        assert home.looks
        home.busy = False
        await asyncio.wait_for(over, 5)

    asyncio.run(story())
