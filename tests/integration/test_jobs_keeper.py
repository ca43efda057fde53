"""The keeper of an attempt: nothing outlives it, and it outlives nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from millrace.jobs.engine import keeper
from millrace.jobs.engine.fence import TOKEN, clear, host

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what outlives a killed keeper is ended by Linux' kernel"),
]
_PATIENCE_S = 60.0

# Starts a process in a session of its own, which writes as long as it lives, and does so itself.
_PROGRAM = """
import os, signal, sys, time
path, how = sys.argv[1:]
if how == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    path += ".apart"
while True:
    with open(path, "a") as file: file.write(".")
    if how.isdecimal() and not path.endswith("apart") and os.path.exists(path + ".apart"): sys.exit(int(how))
    time.sleep(0.01)
"""


@dataclass
class Kept:
    """A keeper, and the writing end of its lifeline."""

    process: subprocess.Popen[bytes]
    lifeline: int
    path: Path

    def say(self, what: bytes) -> None:
        os.write(self.lifeline, what)

    def hang_up(self) -> None:
        os.close(self.lifeline)
        self.lifeline = -1

    def is_going(self) -> bool:
        """Whether both write."""
        return all(path.exists() for path in (self.path, self.path.with_suffix(".apart")))

    def stands_still(self) -> bool:
        sizes = [path.stat().st_size for path in self.path.parent.iterdir()]
        time.sleep(0.1)
        return sizes == [path.stat().st_size for path in self.path.parent.iterdir()]


Start = Callable[..., Kept]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Kept] = []

    def keep(how: str = "", fuse_s: float = 60, grace_s: float = 30) -> Kept:
        folder = tmp_path / "written"
        folder.mkdir(exist_ok=True)
        path = folder / "program"
        read, lifeline = os.pipe()
        done = os.open(os.devnull, os.O_WRONLY)
        command = [sys.executable, "-I", "-S", str(keeper.__file__), str(read), str(done), str(fuse_s), str(grace_s)]
        process = subprocess.Popen(
            [*command, sys.executable, "-I", "-S", "-c", _PROGRAM, str(path), how],
            pass_fds=[read, done],
            env={**os.environ, TOKEN: f"test-{os.getpid()}"},
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(done)
        started.append(Kept(process, lifeline, path))
        return started[-1]

    yield keep
    for kept in started:
        kept.process.kill()
        kept.process.wait()
        if kept.lifeline >= 0:
            os.close(kept.lifeline)
    clear(f"{host()}:test-{os.getpid()}")


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not what():
        assert time.monotonic() < until, "that did not come"
        time.sleep(0.01)


def test_without_a_go_nothing_starts(start: Start) -> None:
    kept = start()
    kept.hang_up()
    assert kept.process.wait(_PATIENCE_S) == 127
    assert not kept.path.exists()


def test_it_ends_as_its_program_does_and_with_what_that_left_behind(start: Start) -> None:
    kept = start("7")
    kept.say(b"g")
    assert kept.process.wait(_PATIENCE_S) == 7
    assert kept.path.with_suffix(".apart").exists()
    assert kept.stands_still()


@pytest.mark.parametrize(("how", "code"), [("", 128 + signal.SIGTERM), ("deaf", 128 + signal.SIGKILL)])
def test_when_its_lifeline_ends_or_it_is_told_to_it_ends_all(start: Start, how: str, code: int) -> None:
    grace_s = 0.3 if how == "deaf" else 30  # only of the deaf it is waited for
    for end in (Kept.hang_up, lambda kept: kept.say(b"t")):
        kept = start(how, grace_s=grace_s)
        kept.say(b"g")
        wait_for(kept.is_going)
        end(kept)
        assert kept.process.wait(_PATIENCE_S) == code
        assert kept.stands_still()
        for path in kept.path.parent.iterdir():
            path.unlink()


def test_when_nothing_is_said_for_too_long_it_ends_all(start: Start) -> None:
    kept = start(fuse_s=15)
    kept.say(b"g")
    wait_for(kept.is_going)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        kept.say(b"h")
        time.sleep(0.5)
    assert kept.process.poll() is None
    assert kept.process.wait(_PATIENCE_S) == 128 + signal.SIGTERM
    assert kept.stands_still()


def test_where_it_is_killed_its_program_dies_and_the_fence_finds_the_rest(start: Start) -> None:
    kept = start()
    kept.say(b"g")
    wait_for(kept.is_going)
    kept.process.kill()
    kept.process.wait()
    clear(f"{host()}:test-{os.getpid()}")
    assert kept.stands_still()
    with suppress(FileNotFoundError):
        clear(f"{host()}:there-is-none")
    clear("another-host:test")


def test_signals_for_its_terminal_don_t_reach_it(start: Start) -> None:
    kept = start("7")
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    wait_for(lambda: _ignores(kept.process.pid, numbers))  # it has to be there before it can
    for number in numbers:
        kept.process.send_signal(number)
    kept.say(b"g")
    assert kept.process.wait(_PATIENCE_S) == 7


def _ignores(pid: int, numbers: Sequence[int]) -> bool:
    """Whether the system lets none of these signals through to a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    return all(ignored >> (number - 1) & 1 for number in numbers)
