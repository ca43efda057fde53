from __future__ import annotations

import threading
import time

from millrace.serving.models.thread import ModelThread


def hangs_here(gate: threading.Event) -> None:
    assert gate.wait(60)


def test_only_the_call_that_it_is_in_counts() -> None:
    thread, began, gates = ModelThread(), time.monotonic(), [threading.Event(), threading.Event()]
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
    thread = ModelThread()
    assert isinstance(thread.submit(int, "no number").exception(60), ValueError)
    assert thread.lasts_s == 0.0
    assert thread.submit(int, "7").result(60) == 7
    thread.shutdown()
