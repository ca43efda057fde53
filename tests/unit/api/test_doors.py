"""Processes that are there on demand: who comes waits for them, and nobody is let down when they come and go."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from millrace.api.attendance import Attendance
from millrace.api.channel import Unanswered, ask
from millrace.api.children import Child, stop
from millrace.api.doors import Door, knock
from millrace.api.options import ChildOptions
from millrace.core.errors import InvalidState
from millrace.core.log_files import open_log

_LONGEST_S = 60.0
# Answers each line that comes to its door; ends well when it is told to, and dies of "die".
_BEHIND = """
import json, os, socket, sys
door = socket.socket(fileno=json.loads(sys.argv[1])["listen_fd"])
door.settimeout(600.0)  # not blocking: that would hold up those who share the door as well
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
_FAREWELL = b'{"error": "nobody comes", "hint": ""}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "door.sock"


@pytest.fixture
def door(path: Path) -> Iterator[Door]:
    with closing(Door(path, _FAREWELL)) as opened:
        yield opened


def _child(tmp_path: Path, door: Door, code: str, monkeypatch: pytest.MonkeyPatch) -> Child:
    (tmp_path / "behindcode.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = ChildOptions("/home", "/sockets", "instance", "http://127.0.0.1:1", listen_fd=door.fileno())
    return Child("test", "behindcode", options, open_log(tmp_path, "test"), door)


@pytest.fixture
def child(tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    made = _child(tmp_path, door, _BEHIND, monkeypatch)
    yield made
    stop([made], 5)


def _kept_alive(child: Child, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while not until():
        child.keep_alive()
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def _asked(child: Child, path: Path, what: str) -> dict[str, object]:
    """Ask while the child is kept alive, as the supervisor does."""
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, path, {"do": what}, _LONGEST_S)
        _kept_alive(child, asking.done)
        return asking.result()


def _answered(child: Child, path: Path) -> object:
    """Ask again until somebody answers: on a slow machine it may take longer to start than anybody waits here."""
    deadline = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline:
        with suppress(InvalidState):
            return _asked(child, path, "stay")["pid"]
    return None


def test_it_starts_for_who_comes_and_again_after_its_end(child: Child, path: Path) -> None:
    for _ in range(5):
        child.keep_alive()
    assert (child.exit_code, child.is_running, child.has_failed) == (None, False, False)
    first = _asked(child, path, "stay")["pid"]
    assert _asked(child, path, "end")["pid"] == first
    _kept_alive(child, lambda: child.exit_code == 0)
    assert (child.is_running, child.has_failed) == (False, False)
    assert _asked(child, path, "stay")["pid"] != first


def test_who_knocks_has_it_start(child: Child, path: Path) -> None:
    knock(path.with_name("no door.sock"))  # nothing
    child.attend()
    assert child._starts == 0
    knock(path)
    child.attend()
    assert child._starts == 1
    _kept_alive(child, lambda: child.exit_code == 0)  # it heard, and ended


def test_one_that_dies_is_replaced_and_who_came_meanwhile_is_answered(child: Child, path: Path) -> None:
    with pytest.raises(Unanswered, match="stopped while it was asked"):
        _asked(child, path, "die")
    assert child.exit_code in (None, 3)
    assert _asked(child, path, "stay")["pid"]


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(1)",  # it can't start
        "import time; time.sleep(0.3); raise SystemExit(1)",  # the same, slowly
        "import sys; sys.exit(0)",  # it believes that nobody needs it
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)",  # it hangs
    ],
)
def test_nobody_waits_forever(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    with closing(Door(path, _FAREWELL, patience_s=1.0)) as door:
        child = _child(tmp_path, door, code, monkeypatch)
        child._start_s = 2.0
        try:
            with pytest.raises(InvalidState, match="nobody comes"):
                _asked(child, path, "stay")
            # It comes back where it can: those who come later are answered.
            (tmp_path / "behindcode.py").write_text(_BEHIND)
            assert _answered(child, path)
        finally:
            stop([child], 0)


def test_one_that_starts_slowly_is_let_start_while_nobody_waits_but_those_who_knock(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who knocks has gone when it is taken: it is no sign that nobody comes."""
    with closing(Door(path, _FAREWELL, patience_s=0.2)) as door:
        child = _child(tmp_path, door, f"import time; time.sleep(1.5)\n{_BEHIND}", monkeypatch)
        try:
            knock(path)
            with pytest.raises(InvalidState, match="nobody comes"):
                _asked(child, path, "stay")  # who waits is sent away meanwhile
            first, deadline = child._process, time.monotonic() + _LONGEST_S
            assert first is not None
            while first.poll() is None:
                assert time.monotonic() < deadline
                if not door.somebody_waits():
                    knock(path)
                child.keep_alive()
                time.sleep(0.01)
            assert first.returncode == 0  # it was not ended; who knocked last may have called another
        finally:
            stop([child], 0)


def test_it_is_not_started_again_and_again_at_once(
    tmp_path: Path, door: Door, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it ends with, while somebody waits."""
    child = _child(tmp_path, door, "import sys; sys.exit(0)", monkeypatch)
    knock(path)
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        child.keep_alive()
        time.sleep(0.01)
    stop([child], 5)
    assert 1 <= child._starts <= 5


def test_what_can_not_be_started_is_tried_again(child: Child, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("subprocess.Popen", _no_process)
        knock(path)
        child.keep_alive()
        child.attend()
        assert not child.is_running
    _kept_alive(child, lambda: child.exit_code == 0)


def _no_process(*_: object, **__: object) -> None:
    raise OSError("no more processes")


def test_who_waits_is_seen_and_sent_away(door: Door, path: Path) -> None:
    assert not door.somebody_waits()
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.connect(str(path))
        other.connect(str(path))
        other.sendall(b"x" * 100)
        assert door.somebody_waits()
        door.send_away()
        assert (one.recv(100), one.recv(1)) == (_FAREWELL, b"")
        assert (other.recv(100), other.recv(1)) == (_FAREWELL, b"")
        assert not door.somebody_waits()


def test_who_is_sent_away_before_he_could_ask_is_told_why(
    door: Door, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(socket.socket):
        def sendall(self, *what: Any) -> None:
            door.send_away()
            super().sendall(*what)

    monkeypatch.setattr("millrace.api.channel.socket.socket", Late)
    with pytest.raises(InvalidState, match="nobody comes"):
        ask(path, {"do": "stay"}, _LONGEST_S)


def test_one_that_hangs_is_ended_also_where_nobody_can_be_sent_away(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Door(path, patience_s=0.2)) as door:
        child = _child(tmp_path, door, "import time; time.sleep(1000)", monkeypatch)
        child._start_s = 0.2
        knock(path)
        monkeypatch.setattr(door, "_socket", _Full(door._socket))
        try:
            child.keep_alive()
            first = child._process
            assert first is not None
            _kept_alive(child, lambda: child._start_s > 0.2)
            assert first.wait(_LONGEST_S) == -signal.SIGKILL
            assert child._start_s == 0.4  # the next one may take longer
        finally:
            stop([child], 0)


class _Full:
    """A listening socket of a process that has as many files open as it may."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening

    def accept(self) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    def close(self) -> None:
        self._listening.close()


def test_who_looks_seldom_does_not_take_it_for_long_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    with closing(Door(path, patience_s=30.0)) as door:
        knock(path)
        seconds[0] = 3600.0  # who looks was held up
        assert not door.is_neglected()
        for _ in range(29):
            seconds[0] += 1.0
            assert not door.is_neglected()
        seconds[0] += 1.0
        assert door.is_neglected()


def test_a_door_takes_the_place_of_an_old_one(path: Path) -> None:
    path.write_text("")
    Door(path).close()
    assert path.is_socket()


class _Home:
    """Counts how often it was asked whether there is something to do."""

    def __init__(self) -> None:
        self.busy, self.looks, self.is_away = True, 0, False

    def at_rest(self) -> bool:
        self.looks += 1
        if self.is_away:
            raise OSError("away")
        return not self.busy


def test_it_is_over_when_nobody_has_asked_and_nothing_is_to_do(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        home = _Home()
        attendance = Attendance(home.at_rest, 0.5)
        with attendance.asked():
            await asyncio.sleep(0.6)
            assert (await attendance.is_over(), home.looks) == (False, 0)  # somebody asks
        assert (await attendance.is_over(), home.looks) == (False, 0)  # a moment ago
        await asyncio.sleep(0.6)
        assert (await attendance.is_over(), home.looks) == (False, 1)  # there is something to do
        home.busy, home.is_away = False, True
        assert not await attendance.is_over()  # that is not known
        assert "is not known" in caplog.text
        home.is_away = False
        assert await attendance.is_over()
        assert await attendance.is_over_behind_closed_doors()

    asyncio.run(story())
