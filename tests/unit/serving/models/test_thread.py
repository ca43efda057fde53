from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from millrace.serving.models.thread import WatchedThreads


def hangs_here(gate: threading.Event) -> None:
    assert gate.wait(60)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def are_hanging(count: int) -> bool:
    """Whether so many threads are where `hangs_here` waits, all at one place: one on its way there is at another."""
    places = list[tuple[object, int]]()
    for frame in sys._current_frames().values():
        outer = frame
        while outer.f_back is not None and outer.f_code is not hangs_here.__code__:
            outer = outer.f_back
        if outer.f_code is hangs_here.__code__:
            places.append((frame.f_code, frame.f_lineno))
    return len(places) == count and len(set(places)) == 1


def test_only_the_call_that_it_is_in_counts() -> None:
    thread, began, gates = WatchedThreads(1, "predict"), time.monotonic(), [threading.Event(), threading.Event()]
    assert (thread.lasts_s, thread.where) == (0.0, "")
    first, second = (thread.submit(hangs_here, gate) for gate in gates)
    wait_for(lambda: thread.lasts_s >= 0.2 and are_hanging(1))
    assert "hangs_here" in thread.where
    between = time.monotonic()
    gates[0].set()
    first.result(60)
    # The one that waited has begun only now.
    assert thread.lasts_s <= time.monotonic() - between < time.monotonic() - began
    gates[1].set()
    second.result(60)
    assert thread.lasts_s == 0.0
    thread.shutdown()


def test_a_call_that_fails_is_over() -> None:
    thread = WatchedThreads(1, "predict")
    assert isinstance(thread.submit(int, "no number").exception(60), ValueError)
    assert thread.lasts_s == 0.0
    assert thread.submit(int, "7").result(60) == 7
    thread.shutdown()


def test_of_several_threads_all_must_be_in_a_call_and_the_newest_counts() -> None:
    threads, gates = WatchedThreads(2, "look-up"), [threading.Event(), threading.Event()]
    first = threads.submit(hangs_here, gates[0])
    wait_for(lambda: are_hanging(1))
    time.sleep(0.2)
    assert threads.lasts_s == 0.0  # the other one is free
    between = time.monotonic()
    second = threads.submit(hangs_here, gates[1])
    wait_for(lambda: are_hanging(2))
    assert 0.0 < threads.lasts_s <= time.monotonic() - between
    assert threads.where.count("in hangs_here") == 1
    gates[0].set()
    first.result(60)
    assert threads.lasts_s == 0.0
    gates[1].set()
    second.result(60)
    threads.shutdown()
