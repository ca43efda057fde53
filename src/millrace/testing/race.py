"""Doing something many times at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")


def race(runners: int, work: Callable[[int], T], timeout_s: float = 60.0) -> list[T]:
    """Call `work(0)` to `work(runners - 1)`, each in a thread of its own, all let go at once; the results in that order.

    Raises:
        Exception: the first that any of the calls raised.
    """
    gate = Barrier(runners, timeout=timeout_s)

    def run(number: int) -> T:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(runners) as pool:
        return [future.result(timeout_s) for future in [pool.submit(run, number) for number in range(runners)]]
