"""Rows that a fast path is tried on, and what counts as the same answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from millrace.serving.inputs import Inputs, is_text, join_inputs
from millrace.serving.models.paths.limits import BEYOND_SINGLE, NumberLimits, predicts
from millrace.serving.models.paths.path import PredictFunction
from millrace.serving.types import Prediction

TOLERANCE = 1e-6
_SEED = 20240229
_GENERATED = 64
_BOUNDARY_ROWS = 4096
_WHOLE = {"integer", "long", "boolean"}


def golden_inputs(signature: Sequence[tuple[str, str]], example: Path | None, texts: Sequence[str] = ()) -> Inputs:
    """The model's example rows, and seeded ones around them: other sizes and signs, zeros, missing values, new texts.

    `texts` are those that the model knows.
    """
    known = _example_rows(signature, example)
    random = np.random.default_rng(_SEED)
    columns = [_column(random, kind, [row[place] for row in known], texts) for place, (_, kind) in enumerate(signature)]
    return _joined(known + [list(row) for row in zip(*columns, strict=True)], signature)


def example_inputs(signature: Sequence[tuple[str, str]], example: Path | None, most: int) -> Inputs:
    """The model's first example rows; none where it has no example, or one that is not of the signature's columns and types."""
    return _joined(_example_rows(signature, example, most), signature)


def boundary_inputs(
    base: Inputs, kinds: Sequence[str], thresholds: Mapping[int, np.ndarray], limits: NumberLimits
) -> Inputs:
    """Rows whose numbers stand at the edges: beside each threshold of their column, and at the ends of what is taken.

    Each column goes through its own edges (a seeded sample of the thresholds where they are very many): once with all
    columns at an edge, once mixed with the values of `base`, so that deeper nodes of trees are reached too.

    Args:
        base: rows that the model takes.
        kinds: the MLflow type names of the number columns.
        thresholds: number column to what the model compares it with.
        limits: what it refuses.
    """
    random = np.random.default_rng(_SEED)
    edges = [
        limits.taken(place, _edges(random, thresholds.get(place, np.empty(0)), kind))
        for place, kind in enumerate(kinds)
    ]
    count = max([_BOUNDARY_ROWS // 2, *map(len, edges)])
    at_edge = [random.permutation(np.resize(values, count)) for values in edges]
    picked = random.integers(len(base), size=2 * count)
    numbers = base.numbers[picked]
    pure = np.column_stack(at_edge) if at_edge else numbers[:count]
    numbers[:count] = pure
    numbers[count:] = np.where(random.random(pure.shape) < 0.5, pure, numbers[count:])  # noqa: PLR2004 - every other
    return Inputs(numbers, tuple([column[row] for row in picked.tolist()] for column in base.texts))


def found_boundaries(own: PredictFunction, base: Inputs) -> Inputs:
    """Neighbouring float64 values between which the model's answer changes: what a pipeline makes of its trees' thresholds.

    Pairs of rows that differ in one number and in their answer are halved, all at once, until nothing lies between.
    """
    random = np.random.default_rng(_SEED)
    picked = random.integers(len(base), size=4 * _GENERATED)
    columns = random.integers(base.numbers.shape[1], size=len(picked))
    low, everyone = base.numbers[picked], np.arange(len(picked))
    high = low.copy()
    high[everyone, columns] = base.numbers[random.permutation(picked), columns]
    usable = np.isfinite(low[everyone, columns]) & np.isfinite(high[everyone, columns])
    low, high, columns, picked = low[usable], high[usable], columns[usable], picked[usable]
    everyone, texts = np.arange(len(picked)), tuple([column[row] for row in picked.tolist()] for column in base.texts)
    start = _answers(own(Inputs(low, texts)))
    for _ in range(64):  # a float64 has 64 bits, and each step takes one at least of those that differ
        middle = low.copy()
        middle[everyone, columns] = low[everyone, columns] / 2 + high[everyone, columns] / 2
        same = _answers(own(Inputs(middle, texts))) == start
        low[same], high[~same] = middle[same], middle[~same]
    return Inputs(np.concatenate([low, high]), tuple([*column, *column] for column in texts))


def accepted(inputs: Inputs, own: PredictFunction) -> np.ndarray:
    """Which rows the model itself can predict: some refuse missing values, or texts that they have not seen."""
    if predicts(own, inputs):
        return np.ones(len(inputs), dtype=bool)
    return np.array([predicts(own, inputs.slice(row, row + 1)) for row in range(len(inputs))])


def take(inputs: Inputs, rows: np.ndarray) -> Inputs:
    """Some rows, by a mask."""
    places = np.flatnonzero(rows)
    return Inputs(inputs.numbers[places], tuple([column[row] for row in places.tolist()] for column in inputs.texts))


def difference(fast: Prediction, own: Prediction) -> str | None:
    """What differs between two predictions of the same rows, for people; None where they agree."""
    if len(fast.labels) != len(own.labels):
        return f"{len(fast.labels)} answers to {len(own.labels)} rows"
    far = sum(not _same(*pair) for pair in zip(fast.labels, own.labels, strict=True))
    if far:
        return f"{far} of {len(own.labels)} labels differ"
    if (fast.probabilities is None) != (own.probabilities is None):
        return "only one of them has probabilities"
    gap = np.abs(np.asarray(fast.probabilities or []) - np.asarray(own.probabilities or []))
    if gap.size and not gap.max() <= TOLERANCE:
        return f"probabilities differ by up to {gap.max():.2g}"
    return None


def _same(one: object, other: object) -> bool:
    if one == other:
        return True
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= TOLERANCE * (1.0 + abs(other)) or (one != one and other != other)  # noqa: PLR0124 - NaN
    return False


def _answers(prediction: Prediction) -> np.ndarray:
    """One comparable value a row."""
    return np.array(
        [repr(row) for row in zip(prediction.labels, prediction.probabilities or prediction.labels, strict=True)]
    )


def _edges(random: np.random.Generator, thresholds: np.ndarray, kind: str) -> np.ndarray:
    finite = thresholds[np.isfinite(thresholds)]
    most = _BOUNDARY_ROWS // 8
    if len(finite) > most:
        finite = random.choice(finite, size=most, replace=False)
    if kind in _WHOLE:
        whole = np.concatenate([np.floor(finite), np.ceil(finite), [0.0, 1.0]])
        return np.unique(np.clip(whole, 0.0, 1.0) if kind == "boolean" else np.clip(whole, -2e9, 2e9))
    with np.errstate(over="ignore"):
        single = finite.astype(np.float32)
        beside = [np.nextafter(single, np.float32(side)).astype(np.float64) for side in (-np.inf, np.inf)]
    near = [finite, *(np.nextafter(finite, side) for side in (-np.inf, np.inf)), single.astype(np.float64), *beside]
    ends = [0.0, -0.0, 1e-310, -1e-310, 1e-40, BEYOND_SINGLE, -BEYOND_SINGLE, np.inf, -np.inf, np.nan]
    return np.concatenate([*near, ends])


def _joined(rows: Sequence[Sequence[object]], signature: Sequence[tuple[str, str]]) -> Inputs:
    return join_inputs(rows, [(name, "string" if is_text(kind) else "double") for name, kind in signature])


def _example_rows(
    signature: Sequence[tuple[str, str]], example: Path | None, most: int | None = None
) -> list[list[object]]:
    if example is None:
        return []
    try:
        content = json.loads(example.read_text())
        places = {name: place for place, name in enumerate(content["columns"])}
        return [[_value(kind, row[places[name]]) for name, kind in signature] for row in content["data"][:most]]
    except (LookupError, TypeError, ValueError):  # whoever wrote it meant another form, or half of it is missing
        return []


def _value(kind: str, value: object) -> object:
    if is_text(kind):
        return None if value is None else str(value)
    return float("nan") if value is None else float(value)  # type: ignore[arg-type]


def _column(random: np.random.Generator, kind: str, known: Sequence[object], texts: Sequence[str]) -> list[object]:
    if kind == "datetime":
        return ["2024-02-29T12:00:00"] * _GENERATED
    if kind == "string":
        pool = [*known, *texts, "a text that no training row has", None]
        return [pool[pick] for pick in random.integers(len(pool), size=_GENERATED)]
    if kind == "boolean":
        return [float(pick) for pick in random.integers(2, size=_GENERATED)]
    values = _numbers(random, np.array([value for value in known if isinstance(value, float)], dtype=np.float64))
    if kind in {"integer", "long"}:
        return list(np.clip(np.nan_to_num(np.rint(values)), -2e9, 2e9).tolist())
    # The first half is whole: some models take no missing value at all.
    missing = (random.random(_GENERATED) < 0.15) & (np.arange(_GENERATED) >= _GENERATED // 2)  # noqa: PLR2004 - one in seven
    return list(np.where(missing, np.nan, values).tolist())


def _numbers(random: np.random.Generator, known: np.ndarray) -> np.ndarray:
    finite = known[np.isfinite(known)]
    base: np.ndarray = random.choice(finite if finite.size else np.array([0.0, 1.0, 10.0]), size=_GENERATED)
    scale: np.ndarray = random.choice([-1.0, 0.0, 0.5, 0.999999, 1.0, 1.000001, 2.0, 1e6], size=_GENERATED)
    noise: np.ndarray = random.normal(size=_GENERATED) * random.choice([0.0, 0.3], size=_GENERATED)
    return np.asarray(base * scale + noise * (np.abs(base) + 1.0))
