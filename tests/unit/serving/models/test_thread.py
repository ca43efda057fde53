from __future__ import annotations

import threading
import time

from millrace.serving.models.thread import WatchedThreads


def hangs_here(gate: threading.Event) -> None:
    assert gate.wait(60)


def test_only_the_call_that_it_is_in_counts() -> None:
    thread, began, gates = WatchedThreads(1, "predict"), time.monotonic(), [threading.Event(), threading.Event()]
    assert (thread.lasts_s, thread.where) == (0.0, "")
    first, second = (thread.submit(hangs_here, gate) for gate in gates)
    until = time.monotonic() + 60
    while thread.lasts_s < 0.2:
        assert time.monotonic() < until
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
    time.sleep(0.2)
    assert threads.lasts_s == 0.0  # the other one is free
    between = time.monotonic()
    second = threads.submit(hangs_here, gates[1])
    until = time.monotonic() + 60
    while threads.lasts_s == 0.0:
        assert time.monotonic() < until
    assert threads.lasts_s <= time.monotonic() - between
    assert threads.where.count("in hangs_here") == 1
    gates[0].set()
    first.result(60)
    assert threads.lasts_s == 0.0
    gates[1].set()
    second.result(60)
    threads.shutdown()
