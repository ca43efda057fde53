from __future__ import annotations

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
