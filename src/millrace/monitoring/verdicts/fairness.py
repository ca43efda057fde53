"""Does a model treat a protected group as it treats the others? Four figures of a boolean slice, class by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import hypot, isfinite, nan

from millrace.monitoring.reference.answers import Answers
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.reference.performance import classes_of, matrix_of
from millrace.statistics.intervals import Estimate, proportion

MEASURES = ("statistical_parity", "equal_opportunity", "predictive_parity", "predictive_equality")


@dataclass(frozen=True, slots=True)
class Difference:
    """A share in the protected group less that in the others: 0 is fair, and a negative one means less for the protected.

    Attributes:
        value: NaN where a group has no rows to take the share of, and so are its bounds.
        low, high: 95 % interval (Newcombe 1998, method 10: Wilson's intervals of both shares, squared and added).
        protected, others: the two shares.
    """

    value: float
    low: float
    high: float
    protected: Estimate
    others: Estimate

    @classmethod
    def of(cls, protected: Estimate, others: Estimate) -> Difference:
        """Of two independent shares."""
        if not (protected and others):
            return cls(nan, nan, nan, protected, others)
        value = protected.value - others.value
        low = value - hypot(protected.value - protected.low, others.high - others.value)
        high = value + hypot(protected.high - protected.value, others.value - others.low)
        return cls(value, low, high, protected, others)


def fairness(protected: Answers, others: Answers) -> Mapping[str, Mapping[str, Difference]]:
    """Measure to class to the difference between two groups, for classifiers.

    For a class c, with P of a group's rows:
    `statistical_parity` P(prediction = c), over all rows with a prediction;
    `equal_opportunity` P(prediction = c | label = c), the recall;
    `predictive_parity` P(label = c | prediction = c), the precision;
    `predictive_equality` P(prediction = c | label is not c), the false positive rate.
    Source: Verma & Rubin 2018, Fairness definitions explained.

    Args:
        protected: rows where the slice's expression is true.
        others: rows where it is false.
    """
    together = protected + others
    if together.problem == "regression":
        return {}
    classes = classes_of(together)
    sides = [dict(_shares(answers, classes)) for answers in (protected, others)]
    return {
        measure: {name: Difference.of(*(side[name][measure] for side in sides)) for name in classes}
        for measure in MEASURES
    }


def fairness_columns(protected: Answers, others: Answers) -> Mapping[str, object]:
    """The four columns of the protected slice's `:table` row: class to difference; null where no class has one.

    Databricks' tables have the same columns on the row whose `slice_value` is true. Which way the difference goes is not in its
    documents: ours is protected less others.
    """
    columns: dict[str, object] = {}
    for measure, by_class in fairness(protected, others).items():
        known = [(name, found.value) for name, found in by_class.items() if isfinite(found.value)]
        columns[measure] = known or None
    return columns


def _shares(answers: Answers, classes: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Estimate]]]:
    matrix: Ints = matrix_of(answers, classes)
    said, true, total = matrix.sum(axis=1), matrix.sum(axis=0), matrix.sum()
    rows = sum(answers.pairs.values())
    for at, name in enumerate(classes):
        hit = float(matrix[at, at])
        predicted = sum(count for (prediction, _), count in answers.pairs.items() if prediction == name)
        yield (
            name,
            {
                "statistical_parity": proportion(predicted, rows),
                "equal_opportunity": proportion(hit, float(true[at])),
                "predictive_parity": proportion(hit, float(said[at])),
                "predictive_equality": proportion(float(said[at]) - hit, float(total - true[at])),
            },
        )
