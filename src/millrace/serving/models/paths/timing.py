"""How long predictions take here, measured on rows that differ from call to call, as requests do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import numpy as np

from millrace.serving.inputs import Inputs
from millrace.serving.models.paths.path import PredictFunction

_QUICK_S = 0.002
_CALLS = 7
_SIZES = tuple(2**power for power in range(11))
_FINER = tuple(round(2 ** (half / 2)) for half in range(4, 21))  # a request may lie anywhere between two powers


def quick_rows(predict: PredictFunction, rows: Inputs) -> int:
    """Up to how many rows (at most 1024) are predicted in two milliseconds; 0 where one takes longer."""
    quick = 0
    for size in _SIZES:
        if _seconds(predict, rows, size) > _QUICK_S:
            break
        quick = size
    return quick


def crossover(few: PredictFunction, many: PredictFunction, rows: Inputs) -> int | None:
    """From how many rows on `many` is faster than `few`; None where it never is."""
    start = None
    for size in _FINER:
        faster = _seconds(many, rows, size) < _seconds(few, rows, size)
        start = (start or size) if faster else None
    return start


def _seconds(predict: PredictFunction, rows: Inputs, size: int) -> float:
    taken = []
    for part in _parts(rows, size):
        started = time.perf_counter()
        predict(part)
        taken.append(time.perf_counter() - started)
    return median(taken[1:])  # the first one warms up


def _parts(rows: Inputs, size: int) -> Iterator[Inputs]:
    places = np.arange(size)
    for call in range(_CALLS + 1):
        picked = (places + call * size) % len(rows)
        yield Inputs(rows.numbers[picked], tuple([column[row] for row in picked.tolist()] for column in rows.texts))
