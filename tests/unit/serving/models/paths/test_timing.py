from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from millrace.serving.inputs import Inputs
from millrace.serving.models.paths import timing
from millrace.serving.types import Prediction

ROWS = Inputs(np.zeros((3000, 1)))


class Stopwatch:
    """A clock that only what is timed moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def taking(self, call_us: float, row_us: float) -> Callable[[Inputs], Prediction]:
        def predict(rows: Inputs) -> Prediction:
            self.now += (call_us + row_us * len(rows)) / 1e6
            return Prediction([0] * len(rows), None)

        return predict


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    made = Stopwatch()
    monkeypatch.setattr(timing, "time", made)
    return made


@pytest.mark.parametrize(
    ("call_us", "start"), [(0.0, 4), (55.0, 64), (80.0, 91), (500.0, 512), (5000.0, None)], ids=str
)
def test_from_how_many_rows_on_the_other_is_faster(watch: Stopwatch, call_us: float, start: int | None) -> None:
    """One more microsecond a row, and so many microseconds a call less: they meet where the rows outweigh the call."""
    few, many = watch.taking(5.0, 4.0), watch.taking(5.0 + call_us, 3.0)
    assert timing.crossover(few, many, ROWS) == start


def test_how_many_rows_take_two_milliseconds(watch: Stopwatch) -> None:
    assert timing.quick_rows(watch.taking(0.0, 4.0), ROWS) == 256
    assert timing.quick_rows(watch.taking(3000.0, 1.0), ROWS) == 0
