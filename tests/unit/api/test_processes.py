from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace.api import channel, children
from millrace.api.channel import Unanswered, ask
from millrace.api.children import Child
from millrace.api.options import ChildOptions
from millrace.api.runtime import ServerInfo, read_info, remove_info, socket_folder, write_info
from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.log_files import open_log

OPTIONS = ChildOptions("/home", "/sockets", "instance", "http://127.0.0.1:1")


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    """A channel that echoes, refuses, and breaks."""

    async def handle(message: channel.Message) -> channel.Message:
        await asyncio.sleep(0)
        if message["do"] == "refuse":
            raise InvalidInput("no", hint="ask nicely")
        if message["do"] == "break":
            raise ZeroDivisionError("oops")
        if message["do"] == "wait":
            await asyncio.sleep(3600)  # until the channel is closed
        return {"heard": message}

    path, loop, up = tmp_path / "w.sock", asyncio.new_event_loop(), threading.Event()

    async def main() -> None:
        await channel.listen(path, handle)
        up.set()
        await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert up.wait(60)
    yield path
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.mark.filterwarnings("ignore:.*:ResourceWarning")
def test_a_channel_answers_and_refuses(listening: Path) -> None:
    big = {"do": "echo", "text": "x" * 1_000_000}
    assert ask(listening, big, 60) == {"heard": big}
    with pytest.raises(InvalidState, match="no") as refused:
        ask(listening, {"do": "refuse"}, 60)
    assert refused.value.hint == "ask nicely"
    with pytest.raises(InvalidState) as broken:
        ask(listening, {"do": "break"}, 60)
    assert str(broken.value) == "ZeroDivisionError; the server's log has more"  # what it said may be about anything
    with pytest.raises(Unanswered):
        ask(listening, {"do": "wait"}, 0.1)


def test_nobody_at_a_channel_is_unanswered(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="worker-0"):
        ask(tmp_path / "worker-0.sock", {"do": "status"}, 1)


def test_the_address_is_whole_or_not_there(tmp_path: Path) -> None:
    assert read_info(tmp_path) is None
    info = ServerInfo("http://127.0.0.1:5010", 1, "a")
    write_info(tmp_path, info)
    assert read_info(tmp_path) == info
    remove_info(tmp_path, "another server's")
    assert read_info(tmp_path) == info
    remove_info(tmp_path, "a")
    assert read_info(tmp_path) is None
    for damaged in ("", "[]", '{"url": 1}'):
        (tmp_path / "server.json").write_text(damaged)
        assert read_info(tmp_path) is None


def test_sockets_of_a_deep_home_are_elsewhere_and_private(tmp_path: Path) -> None:
    near, deep = tmp_path, tmp_path / ("d" * 120)
    assert socket_folder(near) == near / "run"
    folder = socket_folder(deep)
    try:
        assert len(os.fsencode(folder / "worker-100.sock")) < 107
        assert folder.stat().st_mode & 0o777 == 0o700
        assert socket_folder(deep) == folder
    finally:
        folder.rmdir()


def test_options_survive_the_command_line() -> None:
    options = ChildOptions("/h", "/s", "i", "u", 3, 7, 2, 9, ("a", "b"))
    assert ChildOptions.read(["module", options.text()]) == options


def test_a_child_that_dies_is_replaced_and_in_the_end_none_is_left(tmp_path: Path) -> None:
    child = _child(tmp_path, "import time; time.sleep(600)")
    child.start()
    first = _pid(child)
    os.kill(first, 9)
    _until(lambda: child.exit_code is not None)
    with pytest.raises(InvalidState, match="test process ended"):
        child.require_alive()

    def replaced() -> bool:
        child.keep_alive()
        return child.exit_code is None

    _until(replaced)
    assert _pid(child) != first
    children.stop([child], grace_s=120)
    assert child.exit_code == -15


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    child = _child(tmp_path, code)
    child.start()
    _until(lambda: "up" in child.log.read_text())
    children.stop([child], grace_s=0.1)
    assert child.exit_code == -9


def test_a_lifeline_ends_the_process() -> None:
    reading, writing = os.pipe()
    # The signal alone ends it, however long that takes: what comes after the grace would do it with another code.
    code = (
        f"from millrace.api import lifeline; import time; lifeline.hold({reading}, grace_s=600)\n"
        "print('up', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[reading], stdout=subprocess.PIPE)
    os.close(reading)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.close(writing)
    assert process.wait(120) == -15
    process.stdout.close()


def _child(tmp_path: Path, code: str) -> Child:
    """A child that runs this code: a module in a folder of its own."""
    (tmp_path / "childcode.py").write_text(code)
    os.environ["PYTHONPATH"] = str(tmp_path)
    return Child("test", "childcode", OPTIONS, open_log(tmp_path, "test"))


@pytest.fixture(autouse=True)
def python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "")


def _pid(child: Child) -> int:
    assert child._process is not None
    return child._process.pid


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
