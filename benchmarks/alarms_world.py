"""Simulated traffic of a model: 25 features, answers and labels, day by day, with or without what days have in common.

Nothing here knows how it is judged. A world is made from a seed: a reference of 26 weeks, then the days after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NUMBERS, MISSING_SHARE, WITH_MISSING = 20, 0.02, 5
LEVELS = (2, 5, 12, 50, 200)
NUMERIC = tuple(f"n{at}" for at in range(NUMBERS))
TEXT = tuple(f"c{levels}" for levels in LEVELS)
REFERENCE_ROWS, REFERENCE_DAYS, HOLDOUT_DAYS = 50_000, 182, 56
DAY_US = 86_400_000_000
FIRST_DAY = 20_089  # 2025-01-01
_SLOPE, _OFFSET = 1.8252, -1.2  # of the logit: an AUC of 0.85, about 30 % positive
# The share of the score that still tells, so that the AUC is 0.79 and 0.69: by `correlation_for`.
AUC_BEFORE, AUC_MILD, AUC_STRONG = 0.85, 0.79, 0.69


@dataclass(frozen=True)
class Change:
    """What happens from a day on.

    Attributes:
        day: the first changed day, counted from the first day after the reference.
        kind: `none`, `sudden` (0.3 sd), `gradual` (0 to 1 sd over 30 days), `category` (TV 0.15), `nulls` (2 % to 20 %), `concept_mild`, `concept_strong`.
        column: which feature, by position among those of its type.
    """

    kind: str = "none"
    day: int = 0
    column: int = 0


@dataclass(frozen=True)
class Day:
    """One day's rows: latent numbers, categories, answers, labels."""

    numbers: Floats
    missing: npt.NDArray[np.bool_]
    categories: Ints
    probability: Floats
    label: Ints


class World:
    """A stream of days; the same seed and settings give the same days."""

    def __init__(self, seed: int, *, realistic: bool, rows_a_day: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.realistic, self.rows_a_day = realistic, rows_a_day
        self.phase = self.rng.uniform(0, 2 * np.pi, 6)

    def rows(self) -> int:
        """How many come today."""
        return int(self.rng.poisson(self.rows_a_day))

    def day(self, number: int, rows: int, change: Change) -> Day:
        """The rows of a day after the reference (from 0), or of the reference (negative)."""
        on = change.kind if number >= change.day else "none"
        effects = self._effects(number)
        numbers = self.rng.standard_normal((NUMBERS, rows)) + effects[:NUMBERS, None]
        if on == "sudden":
            numbers[change.column] += 0.3
        if on == "gradual":
            numbers[change.column] += min((number - change.day + 1) / 30, 1.0)
        share = np.zeros(NUMBERS)
        share[-WITH_MISSING:] = MISSING_SHARE
        if on == "nulls":
            share[-WITH_MISSING + change.column] = 0.2
        missing = np.zeros((NUMBERS, rows), dtype=bool)
        missing[-WITH_MISSING:] = self.rng.random((WITH_MISSING, rows)) < share[-WITH_MISSING:, None]
        categories = np.array(
            [self._categories(at, rows, moved=on == "category" and at == change.column) for at in range(len(LEVELS))]
        )
        return Day(numbers, missing, categories, *self._answers(rows, float(effects[NUMBERS]), on))

    def _effects(self, number: int) -> Floats:
        effects = np.zeros(NUMBERS + 1)
        if self.realistic:
            effects = self.rng.normal(0, 0.04, NUMBERS + 1)
            effects[:6] += 0.15 * np.sin(2 * np.pi * number / 7 + self.phase)
        return effects

    def _categories(self, at: int, rows: int, *, moved: bool) -> Ints:
        share = 1 / np.arange(1, LEVELS[at] + 1)
        if self.realistic:
            share = share * np.exp(self.rng.normal(0, 0.05, len(share)))
        share = share / share.sum()
        if moved:
            # Total variation 0.15: the most frequent category loses it, the others gain it by their size.
            rest = share[1:] / share[1:].sum()
            share = np.r_[share[0] - 0.15, share[1:] + 0.15 * rest]
        return np.searchsorted(np.cumsum(share)[:-1], self.rng.random(rows), side="right")

    def _answers(self, rows: int, effect: float, on: str) -> tuple[Floats, Ints]:
        score = self.rng.standard_normal(rows) + effect
        auc = {"concept_mild": AUC_MILD, "concept_strong": AUC_STRONG}.get(on, AUC_BEFORE)
        kept = correlation_for(auc)
        truth = kept * score + np.sqrt(1 - kept**2) * self.rng.standard_normal(rows)
        label = (self.rng.random(rows) < _sigmoid(truth)).astype(np.int64)
        return _sigmoid(score), label


def _sigmoid(score: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-(_SLOPE * score + _OFFSET))), dtype=np.float64)


@lru_cache
def correlation_for(auc: float) -> float:
    """How much of the score the truth must follow for an AUC, by bisection; 1 for the AUC of before.

    AUC = P(score of a positive > score of a negative), by quadrature over both standard normals.
    """
    if auc >= AUC_BEFORE:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_auc(middle) < auc else (low, middle)
    return (low + high) / 2


def expected_auc(kept: float) -> float:
    """The AUC when the truth follows so much of the score."""
    grid = np.linspace(-7, 7, 1401)
    density = np.exp(-(grid**2) / 2)
    density /= density.sum()
    noise = np.linspace(-5, 5, 201)
    noise_density = np.exp(-(noise**2) / 2)
    noise_density /= noise_density.sum()
    positive = _sigmoid(kept * grid[:, None] + np.sqrt(1 - kept**2) * noise) @ noise_density
    up, down = density * positive, density * (1 - positive)
    below = np.cumsum(down) - down / 2
    return float((up @ below) / (up.sum() * down.sum()))


def table(days: dict[int, Day]) -> pa.Table:
    """Days as rows of an inference log; names of categories are texts, missing numbers null."""
    rows = [len(day.label) for day in days.values()]
    starts = np.repeat(np.array(list(days), dtype=np.int64) + FIRST_DAY, rows) * DAY_US
    numbers = np.concatenate([day.numbers for day in days.values()], axis=1)
    missing = np.concatenate([day.missing for day in days.values()], axis=1)
    codes = np.concatenate([day.categories for day in days.values()], axis=1)
    probability = np.concatenate([day.probability for day in days.values()])
    columns: dict[str, object] = {
        name: pa.array(numbers[at], mask=missing[at] if missing[at].any() else None) for at, name in enumerate(NUMERIC)
    }
    for at, name in enumerate(TEXT):
        names = pa.array([f"{level:03d}" for level in range(LEVELS[at])])
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes[at], pa.int32()), names).cast(pa.string())
    return pa.table(
        columns
        | {
            "timestamp": pa.array(starts + DAY_US // 2, pa.timestamp("us", "UTC")),
            "probability": probability,
            "prediction": np.round(probability),
            "actual_label": np.concatenate([day.label for day in days.values()]),
        }
    )


def reference_days(world: World) -> dict[int, Day]:
    """50,000 rows over the 26 weeks before."""
    rows = world.rng.multinomial(REFERENCE_ROWS, np.full(REFERENCE_DAYS, 1 / REFERENCE_DAYS))
    return {
        number: world.day(number, int(count), Change())
        for number, count in zip(range(-REFERENCE_DAYS, 0), rows, strict=True)
    }


def changes(seed: int, day: int) -> dict[str, Change]:
    """One of each kind, in a column that the seed chooses."""
    rng = np.random.default_rng([seed, 7])
    return {
        "sudden": Change("sudden", day, int(rng.integers(NUMBERS))),
        "gradual": Change("gradual", day, int(rng.integers(NUMBERS))),
        "category": Change("category", day, int(rng.integers(len(LEVELS)))),
        "nulls": Change("nulls", day, int(rng.integers(WITH_MISSING))),
        "concept_mild": Change("concept_mild", day),
        "concept_strong": Change("concept_strong", day),
    }
