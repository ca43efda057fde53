from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.api import memory
from millrace.api.memory import Leftovers


def test_what_is_left_over_is_given_back_once_it_is_calm_after_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, used = [0.0], [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    monkeypatch.setattr("time.process_time", lambda: used[0])
    given = list[int]()
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))
    leftovers, found = Leftovers(), []
    for worked in (0.01, 4.0, 0.01, 0.01, 0.5, 0.01, 3.0, 0.01):
        seconds[0] += 5.0
        used[0] += worked
        found.append(leftovers.look())
    assert found == [False, False, True, False, False, False, False, True]
    assert len(given) == 2


def test_giving_back_does_no_harm() -> None:
    memory.give_back()


# Turns that need 20 MB each: how many pages a later one gets from the system, and what the process has before and after all is given back.
_TURNS = """
import json, os, resource, sys
from millrace.api import memory

if sys.argv[1] == "kept":
    memory.keep_for_the_next()

def turn():
    bodies = [bytes([number]) * 40_000 for number in range(256)]
    return len(b"".join(bodies))

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

for _ in range(3):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    turn()
faults, kept = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, resident()
memory.give_back()
print(json.dumps([faults / 10, kept, resident()]))
"""


_HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
@pytest.mark.skipif(
    _HUGE.exists() and "[always]" in _HUGE.read_text(), reason="of huge pages there are too few to count"
)
def test_what_a_turn_leaves_is_there_for_the_next_one_until_it_is_given_back() -> None:
    def run(how: str) -> list[float]:
        done = subprocess.run([sys.executable, "-c", _TURNS, how], check=True, capture_output=True, text=True)
        found: list[float] = json.loads(done.stdout)
        return found

    (faults, kept, left), (faults_otherwise, _, _) = run("kept"), run("not kept")
    assert faults * 10 < faults_otherwise
    assert left < kept - (15 << 20)
