from __future__ import annotations

import os
import subprocess
import sys

import pytest

from millrace.core.processes import is_alive, usable_processors


def test_a_process_is_alive_until_it_has_ended() -> None:
    assert is_alive(os.getpid())
    assert is_alive(1)  # somebody else's
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert is_alive(child.pid)
        child.communicate(b"\n")
    assert not is_alive(child.pid)
    assert not is_alive(1 << 40)


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells of them")
def test_a_process_that_has_ended_is_not_alive_though_nobody_waits_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        os.kill(child.pid, 0)  # its number is still taken
        assert not is_alive(child.pid)


def test_a_process_that_is_held_to_one_processor_has_one() -> None:
    (one, *_) = os.sched_getaffinity(0)
    code = f"import os; os.sched_setaffinity(0, [{one}]); from millrace.core.processes import usable_processors as n; print(n())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (int(told.stdout), usable_processors()) == (1, len(os.sched_getaffinity(0)))
