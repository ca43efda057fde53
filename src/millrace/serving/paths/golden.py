"""Rows that a fast path is tried on, and what counts as the same answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from millrace.serving.inputs import Inputs, is_text, join_inputs
from millrace.serving.paths.path import PredictFunction
from millrace.serving.types import Prediction

TOLERANCE = 1e-6
_GENERATED = 64


def golden_inputs(signature: Sequence[tuple[str, str]], example: Path | None) -> Inputs:
    """The model's example rows, and seeded ones around them: other sizes and signs, zeros, missing values, new texts."""
    known = _example_rows(signature, example)
    random = np.random.default_rng(20240229)
    columns = [_column(random, kind, [row[place] for row in known]) for place, (_, kind) in enumerate(signature)]
    rows = known + [list(row) for row in zip(*columns, strict=True)]
    return join_inputs(rows, [(name, "string" if is_text(kind) else "double") for name, kind in signature])


def accepted(inputs: Inputs, own: PredictFunction) -> Inputs:
    """The rows that the model itself can predict: some refuse missing values, or texts that they have not seen."""
    try:
        own(inputs)
    except Exception:  # noqa: BLE001 - a foreign model may raise anything
        taken = [row for row in range(len(inputs)) if _predicts(own, inputs.slice(row, row + 1))]
        return Inputs(inputs.numbers[taken], tuple([column[row] for row in taken] for column in inputs.texts))
    return inputs


def difference(fast: Prediction, own: Prediction) -> str | None:
    """What differs between two predictions of the same rows, for people; None where they agree."""
    far = [number for number, pair in enumerate(zip(fast.labels, own.labels, strict=True)) if not _same(*pair)]
    if far:
        return f"{len(far)} of {len(own.labels)} labels differ"
    if (fast.probabilities is None) != (own.probabilities is None):
        return "only one of them has probabilities"
    gap = np.abs(np.asarray(fast.probabilities or []) - np.asarray(own.probabilities or []))
    if gap.size and not gap.max() <= TOLERANCE:
        return f"probabilities differ by up to {gap.max():.2g}"
    return None


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, (int, float)):
        return bool(np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
    return one == other


def _predicts(own: PredictFunction, inputs: Inputs) -> bool:
    try:
        own(inputs)
    except Exception:  # noqa: BLE001 - a foreign model may raise anything
        return False
    return True


def _example_rows(signature: Sequence[tuple[str, str]], example: Path | None) -> list[list[object]]:
    if example is None:
        return []
    content = json.loads(example.read_text())
    places = {name: place for place, name in enumerate(content["columns"])}
    if any(name not in places for name, _ in signature):
        return []
    return [[_value(kind, row[places[name]]) for name, kind in signature] for row in content["data"]]


def _value(kind: str, value: object) -> object:
    if kind in {"string", "datetime"}:
        return None if value is None else str(value)
    return float("nan") if value is None else float(value)  # type: ignore[arg-type]


def _column(random: np.random.Generator, kind: str, known: Sequence[object]) -> list[object]:
    if kind == "datetime":
        return ["2024-02-29T12:00:00"] * _GENERATED
    if kind == "string":
        texts = [*known, "a text that no training row has", None]
        return [texts[pick] for pick in random.integers(len(texts), size=_GENERATED)]
    if kind == "boolean":
        return [float(pick) for pick in random.integers(2, size=_GENERATED)]
    values = _numbers(random, np.array([value for value in known if isinstance(value, float)], dtype=np.float64))
    if kind in {"integer", "long"}:
        return list(np.clip(np.nan_to_num(np.rint(values)), -2e9, 2e9).tolist())
    return list(np.where(random.random(_GENERATED) < 0.15, np.nan, values).tolist())  # noqa: PLR2004 - one in seven


def _numbers(random: np.random.Generator, known: np.ndarray) -> np.ndarray:
    finite = known[np.isfinite(known)]
    base: np.ndarray = random.choice(finite if finite.size else np.array([0.0, 1.0, 10.0]), size=_GENERATED)
    scale: np.ndarray = random.choice([-1.0, 0.0, 0.5, 0.999999, 1.0, 1.000001, 2.0, 1e6], size=_GENERATED)
    noise: np.ndarray = random.normal(size=_GENERATED) * random.choice([0.0, 0.3], size=_GENERATED)
    return np.asarray(base * scale + noise * (np.abs(base) + 1.0))
