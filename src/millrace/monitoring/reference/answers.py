"""Answers as counts: what a model said and what came true, in a form that adds up over windows, versions and slices."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.statistics.exact import ExactSum

Problem = Literal["binary", "classes", "regression"]
Pair = tuple[str, str | None]

SCORE_CELLS = 256
WRONG, RIGHT, UNKNOWN = 0, 1, 2  # columns of the score counts: did the class that was scored come true?
POSITIVE = "1"
OTHER = "(other)"
LEAST_PROBABILITY = 1e-6  # a probability of exactly 0 or 1 would make one row outweigh all others
_FORMAT = 1


@lru_cache(maxsize=1)
def score_edges() -> Floats:
    """The 255 inner edges of the cells of a probability, `(0, e1], (e1, e2], ...`: i^3 / (i^3 + (256 - i)^3).

    They are the same for all models, fine near 0 and 1 (the first is 6e-8) and 0.012 wide in the middle, with an edge at 0.5.
    """
    up = np.arange(1, SCORE_CELLS, dtype=np.float64) ** 3
    edges = up / (up + up[::-1])
    edges.flags.writeable = False
    return edges


@lru_cache(maxsize=1)
def score_centres() -> Floats:
    """The middle of each of the 256 cells, on the scale that they are equal on."""
    up = (np.arange(SCORE_CELLS) + 0.5) ** 3
    centres = up / (up + up[::-1])
    centres.flags.writeable = False
    return np.asarray(centres, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class AnswerLayout:
    """How a model's answers are counted: frozen with its reference.

    Attributes:
        problem: `binary` (labels 0 and 1, scores are P(1)), `classes` (scores are the probability of the predicted class), `regression`.
        classes: at most 50; any other label or prediction counts as `(other)`. Empty for a regression.
        centre: what labels of a regression are counted from, near their mean, so that sums of their powers stay precise.
    """

    problem: Problem
    classes: tuple[str, ...] = ()
    centre: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The answers in a set of rows. `+` adds those of two sets exactly: in any order, however split, to the bit.

    Attributes:
        problem: as in the layout that they were counted by.
        rows: all rows, whatever is known of them.
        labelled: rows with a label and an answer.
        pairs: (prediction, label) to rows; label None where it is not known. Empty for a regression.
        scores: class to 256 x 3 counts: cell of its probability by wrong, right, unknown. `1` alone for `binary`; else the
            predicted class. Rows without a probability in [0, 1] are in none.
        sums: name to a sum over labelled rows. For classes `log_loss`, `brier` and their squares (`log_loss_2`), over the rows that have
            scores; for a regression with error e = prediction - label, y = label - centre: `abs`, `e`, `e2`, `e4`, `e6`, `y`..`y4`, `e2y`, `e2y2`; and
            `ape`, `ape_2` of |e / label| with `ape_rows`, where the label is not 0.
    """

    problem: Problem
    rows: int = 0
    labelled: int = 0
    pairs: Mapping[Pair, int] = field(default_factory=dict)
    scores: Mapping[str, Ints] = field(default_factory=dict)
    sums: Mapping[str, ExactSum] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Share of all rows that have a label and an answer; 0 without rows."""
        return self.labelled / self.rows if self.rows else 0.0

    @property
    def scored(self) -> int:
        """Labelled rows that have a probability."""
        return int(sum(counts[:, :UNKNOWN].sum() for counts in self.scores.values()))

    def total(self, name: str) -> float:
        """A sum by its name; 0 where it is not kept."""
        return float(self.sums.get(name, ExactSum()))

    def __add__(self, other: Answers) -> Answers:
        """The answers in both sets.

        Raises:
            InvalidInput: they are of different problems.
        """
        return added((self, other), self.problem)

    def __eq__(self, other: object) -> bool:
        """Whether all counts and sums are the same."""
        return isinstance(other, Answers) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment] # counts in arrays

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it, counts that are 0 left out; every float comes back exactly."""
        scores = {}
        for name, counts in sorted(self.scores.items()):
            cells = np.flatnonzero(counts.any(axis=1))
            if len(cells):
                scores[name] = [cells.tolist(), *counts[cells].T.tolist()]
        return {
            "format": _FORMAT,
            "problem": self.problem,
            "rows": self.rows,
            "labelled": self.labelled,
            "pairs": [[*pair, count] for pair, count in sorted(self.pairs.items(), key=_by_names) if count],
            "scores": scores,
            "sums": {name: list(one.parts) for name, one in sorted(self.sums.items()) if one.parts},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Answers:
        """Read what `to_dict` wrote.

        Raises:
            InvalidInput: it is something else, or of a newer format.
        """
        try:
            if data["format"] != _FORMAT:
                raise InvalidInput(f"answers of format {data['format']}, known is {_FORMAT}", hint="upgrade millrace")
            return cls(
                problem=data["problem"],
                rows=data["rows"],
                labelled=data["labelled"],
                pairs={(said, true): count for said, true, count in data["pairs"]},
                scores={name: _dense(counts) for name, counts in data["scores"].items()},
                sums={name: ExactSum(tuple(parts)) for name, parts in data["sums"].items()},
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidInput("these are not counted answers", hint="count the windows again") from error

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Answers:
        """Read what `to_json` wrote. Raises as `from_dict` does."""
        try:
            return cls.from_dict(json.loads(text))
        except ValueError as error:
            raise InvalidInput("these are not counted answers", hint="count the windows again") from error


def added(parts: Sequence[Answers], problem: Problem) -> Answers:
    """The answers in all sets; none in no sets.

    Raises:
        InvalidInput: a set is of another problem.
    """
    if others := {part.problem for part in parts} - {problem}:
        raise InvalidInput(
            f"answers of a {problem} model can't be added to those of a {others.pop()} one",
            hint="add windows of one model version",
        )
    pairs: Counter[Pair] = Counter()
    scores: dict[str, Ints] = {}
    terms: dict[str, list[float]] = {}
    for part in parts:
        pairs.update(part.pairs)
        for name, counts in part.scores.items():
            scores[name] = scores[name] + counts if name in scores else counts
        for name, one in part.sums.items():
            terms.setdefault(name, []).extend(one.parts)
    sums = {name: ExactSum.of(values) for name, values in terms.items()}
    rows, labelled = sum(part.rows for part in parts), sum(part.labelled for part in parts)
    return Answers(problem, rows, labelled, dict(pairs), scores, sums)


def _by_names(item: tuple[Pair, int]) -> tuple[str, str]:
    (said, true), _ = item
    return said, "" if true is None else f"={true}"


def _dense(sparse: Sequence[Sequence[int]]) -> Ints:
    counts = np.zeros((SCORE_CELLS, 3), dtype=np.int64)
    counts[np.asarray(sparse[0], dtype=np.int64)] = np.asarray(sparse[1:], dtype=np.int64).T
    return counts
