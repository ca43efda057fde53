"""Columns of more texts than a reference can know: what is new every day there is no news."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from millrace.monitoring.counts.count import count_version
from millrace.monitoring.judge import judge
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec

SPEC = MonitorSpec("logs.answers", "metrics")
A_DAY, DAYS = 1_000, 10
Draw = Callable[[np.random.Generator, int], np.ndarray]


def _ids(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.integers(0, 2**60, rows)


def _uniform(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.integers(0, 10_000, rows)


def _long_tail(rng: np.random.Generator, rows: int) -> np.ndarray:
    shares = 1 / np.arange(1, 10_001)
    return rng.choice(10_000, rows, p=shares / shares.sum())


def _column(values: np.ndarray) -> pa.Table:
    return pa.table({"who": pa.array([f"v{value}" for value in values.tolist()])})


@pytest.mark.parametrize("rows", [800, 20_000])
@pytest.mark.parametrize("draw", [_ids, _uniform, _long_tail])
def test_the_same_world_is_never_called_broken_or_drift(draw: Draw, rows: int) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        reference = ReferenceProfile.build(_column(draw(rng, rows)))
        numbers = np.repeat(np.arange(DAYS), A_DAY)
        windows = count_version(_column(draw(rng, len(numbers))), numbers, SPEC, reference)
        bad = [one.reason for one in judge(SPEC, "1", reference, windows) if one.status in {"drift", "broken"}]
        assert bad == []


def test_a_long_tail_that_loses_its_head_is_drift() -> None:
    rng = np.random.default_rng(0)
    reference = ReferenceProfile.build(_column(_long_tail(rng, 20_000)))
    windows = count_version(_column(_uniform(rng, A_DAY)), np.zeros(A_DAY, dtype=np.int64), SPEC, reference)
    assert "broken" in {one.status for one in judge(SPEC, "1", reference, windows)}
