from __future__ import annotations

import os
import subprocess
import sys

from millrace.core.processes import is_alive


def test_a_process_is_alive_until_it_has_ended() -> None:
    assert is_alive(os.getpid())
    assert is_alive(1)  # somebody else's
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert is_alive(child.pid)
        child.communicate(b"\n")
    assert not is_alive(child.pid)
    assert not is_alive(1 << 40)
