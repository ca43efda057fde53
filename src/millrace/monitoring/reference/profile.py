"""What a model version was made on, frozen: the cells, counts and moments that every window is measured against."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.monitoring.reference.answers_profile import AnswersProfile
from millrace.monitoring.reference.calibrate import spans
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.count_answers import AnswerColumns
from millrace.monitoring.reference.past import Past

if TYPE_CHECKING:
    import pyarrow as pa

_FORMAT = 2
_READABLE = (1, _FORMAT)  # the first had no days and no importances
_MOST_THREADS = 4


@dataclass(frozen=True, slots=True)
class ReferenceProfile:
    """A frozen reference: mergeable counts in fixed cells, small enough to travel with the model.

    Attributes:
        columns: the features, in model order.
        probability, prediction: of the model's answers on rows that it was not trained on; None where not given.
        importances: feature to its share of the model's importance; empty where nobody measured it.
        answers: counts of the answers on rows that it was not trained on; None without labels.
    """

    columns: tuple[ColumnProfile, ...]
    probability: ColumnProfile | None = None
    prediction: ColumnProfile | None = None
    importances: Mapping[str, float] = field(default_factory=dict)
    answers: AnswersProfile | None = None

    @classmethod
    def build(
        cls,
        features: pa.Table,
        probabilities: pa.Array | None = None,
        labels: pa.Array | None = None,
        columns: Sequence[str] = (),
        *,
        predictions: pa.Array | None = None,
        timestamps: pa.Array | None = None,
    ) -> ReferenceProfile:
        """Profile a reference of n rows: training and holdout together, or what stands for normal.

        Args:
            features: n rows, feature columns and perhaps more.
            probabilities: n values, P(class 1); null for rows the model was trained on, whose answers are too good to compare.
            labels: n values; null where not known. Answers are counted where both are known.
            columns: which features, in order; empty: all of the table.
            predictions: n predicted labels; null as for probabilities.
            timestamps: n times of the rows. With them the reference's own ups and downs set how large a distance must be to be drift.

        Raises:
            InvalidInput: no rows, rows without a time where times are given, an unknown column, arrays of another length, or a column that is neither numbers nor text.
        """
        _check(features, columns, (probabilities, labels, predictions, timestamps))
        if timestamps is not None and timestamps.null_count:
            missing = timestamps.null_count
            raise InvalidInput(f"{missing} rows of the reference have no time", hint="leave these rows out")
        when = spans(timestamps) if timestamps is not None else {}
        past, names = Past.of(when.get(1)), tuple(columns) or tuple(features.column_names)
        return cls(
            columns=_columns(features.select(names), past),
            probability=None if probabilities is None else _known("probability", probabilities, when),
            prediction=None if predictions is None else _known("prediction", predictions, when),
            answers=_answers(probabilities, predictions, labels, when),
        )

    @property
    def fingerprint(self) -> str:
        """The same for the same cells, counts, moments and answers: counts may be summed and compared only where it is the same."""
        bare = replace(
            self,
            columns=tuple(_bare(column) for column in self.columns),
            probability=self.probability and _bare(self.probability),
            prediction=self.prediction and _bare(self.prediction),
            importances={},
        )
        return hashlib.sha256(bare.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """As JSON; every float comes back exactly."""
        parts = {one.name: getattr(self, one.name) for one in fields(self)}
        parts["answers"] = self.answers.to_dict() if self.answers else None
        return orjson.dumps({"format": _FORMAT} | parts, option=orjson.OPT_NON_STR_KEYS).decode()

    @classmethod
    def from_json(cls, text: str) -> ReferenceProfile:
        """Read what `to_json` wrote, or an earlier millrace: then it has fewer cells, and no days.

        Raises:
            InvalidInput: not a reference profile, or one of a newer format.
        """
        try:
            data = orjson.loads(text)
            if data["format"] not in _READABLE:
                raise InvalidInput(
                    f"reference profile has format {data['format']}, and this millrace knows {_FORMAT}",
                    hint="upgrade millrace",
                )
            return cls(
                columns=tuple(ColumnProfile.from_json(column) for column in data["columns"]),
                probability=ColumnProfile.from_json(data["probability"]) if data["probability"] else None,
                prediction=ColumnProfile.from_json(data["prediction"]) if data["prediction"] else None,
                importances=data.get("importances", {}),
                answers=AnswersProfile.from_dict(data["answers"]) if data.get("answers") else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                "this is not a reference profile", hint="build it again from the training set"
            ) from error


def _check(features: pa.Table, columns: Sequence[str], arrays: Sequence[Any]) -> None:
    if features.num_rows == 0:
        raise InvalidInput("the reference has no rows", hint="build it from a training set with rows")
    for name in columns:
        if name not in features.column_names:
            hint = did_you_mean(name, features.column_names)
            raise InvalidInput(f"the reference has no column '{name}'", hint=hint, column=name)
    lengths = {len(array) for array in arrays if array is not None} - {features.num_rows}
    if lengths:
        raise InvalidInput(
            f"arrays of {sorted(lengths)} values beside {features.num_rows} rows", hint="give one value per row"
        )


def _columns(features: pa.Table, past: Past | None) -> tuple[ColumnProfile, ...]:
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        return tuple(pool.map(ColumnProfile.build, features.column_names, features.columns, repeat(past)))


def _known(name: str, column: Any, when: Mapping[int, Ints]) -> ColumnProfile:
    """Profile answers: null means that there is no such row, not that a value is missing."""
    known = column.is_valid()
    kept = np.asarray(known, dtype=bool)
    past = Past.of(when[1][kept] if when else None)
    return ColumnProfile.build(name, column.filter(known), past)


def _bare(column: ColumnProfile) -> ColumnProfile:
    """Without what no count is compared with."""
    return replace(column, days=None)


def _answers(probabilities: Any, predictions: Any, labels: Any, when: Mapping[int, Ints]) -> AnswersProfile | None:
    if labels is None or (probabilities is None and predictions is None):
        return None
    return AnswersProfile.build(AnswerColumns(labels, predictions, probabilities), when)
