"""The keeper of one attempt: a small program between the executor and the attempt's own, so that nothing outlives either.

    python -I -S keeper.py LIFELINE DONE FUSE_S GRACE_S PROGRAM...

It starts PROGRAM in a process group of its own, and ends it with all that came of it when the pipe LIFELINE ends (the executor is
gone), when it is told to (`t`), or when nothing came by it for FUSE_S seconds (the executor stands still and its lease may be
another's). DONE is held open until nothing is left. It ends as PROGRAM did, or with 128 and the signal's number.

It imports nothing of ours and takes a few milliseconds and megabytes.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_S = 0.02
_NOT_STARTED = 127


def main(argv: list[str]) -> int:
    """Keep one program."""
    lifeline, done = int(argv[1]), int(argv[2])
    fuse_s, grace_s, program = float(argv[3]), float(argv[4]), argv[5:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # who wants it to end closes the lifeline
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what the program leaves behind becomes ours
    wakes, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    if os.read(lifeline, 1) != b"g":
        return _NOT_STARTED  # the executor ended before it could say "go"
    child = _start(program, (lifeline, done, wakes, wake))
    code, told = _watch(child, lifeline, wakes, fuse_s)
    if told:
        code = _end(child, grace_s)
    _end_all(child)
    return code


def _start(program: list[str], ours: tuple[int, ...]) -> int:
    keeper, child = os.getpid(), os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:  # it was gone before we asked
            os._exit(_NOT_STARTED)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for descriptor in ours:
            os.close(descriptor)
        os.execvp(program[0], program)  # noqa: S606 - what the executor was told to run
    except OSError as error:
        os.write(2, f"{program[0]} can't be started: {error}\n".encode())
    os._exit(_NOT_STARTED)


def _watch(child: int, lifeline: int, wakes: int, fuse_s: float) -> tuple[int, bool]:
    """Wait for the program's end, or for a reason to end it: its exit code, and whether there is such a reason."""
    until = time.monotonic() + fuse_s
    while True:
        ready = select.select([lifeline, wakes], [], [], max(0.0, until - time.monotonic()))[0]
        if wakes in ready:
            os.read(wakes, 512)
        code = _ended(child)
        if code is not None:
            return code, False
        if lifeline in ready:
            said = os.read(lifeline, 512)
            if not said or b"t" in said:
                return 0, True
            until = time.monotonic() + fuse_s
        elif time.monotonic() >= until:
            os.write(2, b"the executor stands still: the attempt is ended\n")
            return 0, True


def _end(child: int, grace_s: float) -> int:
    """TERM to the group, and after the grace KILL."""
    until = time.monotonic() + grace_s
    _signal(child, signal.SIGTERM)
    code = _ended(child)
    while code is None and time.monotonic() < until:
        time.sleep(_LOOK_S)
        code = _ended(child)
    _signal(child, signal.SIGKILL)
    return _code(os.waitpid(child, 0)[1]) if code is None else code


def _end_all(child: int) -> None:
    """Kill what the program left behind, until there is nothing: its group, and what became a child of ours."""
    _signal(child, signal.SIGKILL)
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for orphan in _children():
                _kill(orphan)
            time.sleep(_LOOK_S / 4)


def _children() -> list[int]:
    try:
        with open("/proc/thread-self/children") as file:  # noqa: PTH123 - pathlib takes longer to import than all else here
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _ended(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return _code(status) if pid else None


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the lifeline and the process group have to do."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
