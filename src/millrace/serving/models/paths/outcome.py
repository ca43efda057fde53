"""What the proof of a model's paths came to, as it is kept beside the graph."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from millrace.serving.models.paths.classes import Kind
from millrace.serving.models.paths.limits import NOTHING_REFUSED, NumberLimits
from millrace.serving.models.paths.texts import Vocabulary


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a model is to be run, and why so.

    Attributes:
        path: `onnx`, `onnx+xgboost`, `xgboost`, `lightgbm`, `sklearn` or `pyfunc`.
        why: for people.
        quick_rows: up to how many rows take about two milliseconds; 0 where one takes longer.
        many_rows: of `onnx+xgboost`: from how many rows on XGBoost is the faster one.
        kind: what scores of `onnx` and `xgboost` mean.
        classes: of a classifier.
        vocabularies: of each text input, for `onnx`.
        limits: numbers that the model refuses.
        lasting: whether it would come to the same next time; not so where a library was missing, say.
    """

    path: str
    why: str
    quick_rows: int = 0
    many_rows: int | None = None
    kind: Kind = "values"
    classes: tuple[object, ...] | None = None
    vocabularies: tuple[Vocabulary, ...] = ()
    limits: NumberLimits = NOTHING_REFUSED
    lasting: bool = True


def to_json(outcome: Outcome) -> str:
    """The outcome as text."""
    # Not by asdict: JSON has no None among an object's names.
    plain = asdict(replace(outcome, vocabularies=()))
    plain["vocabularies"] = [[each.column, list(each.codes.items()), each.other] for each in outcome.vocabularies]
    return json.dumps(plain, indent=1)


def from_json(text: str) -> Outcome:
    """The outcome out of its text."""
    plain: dict[str, Any] = json.loads(text)
    vocabularies = plain["vocabularies"]
    plain["vocabularies"] = tuple(Vocabulary(column, dict(codes), other) for column, codes, other in vocabularies)
    plain["classes"] = None if plain["classes"] is None else tuple(plain["classes"])
    plain["limits"] = NumberLimits(**{name: tuple(columns) for name, columns in plain["limits"].items()})
    return Outcome(**plain)
