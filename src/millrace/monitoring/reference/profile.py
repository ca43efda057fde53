"""What a model version was made on, frozen: the cells, counts and moments that every window is measured against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.monitoring.reference import cells as cell
from millrace.monitoring.reference.calibrate import Variation, column_variation, loss_spread, spans
from millrace.monitoring.reference.cells import Floats, Ints, Kind
from millrace.monitoring.reference.losses import row_losses

if TYPE_CHECKING:
    import pyarrow as pa

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column of the reference.

    Attributes:
        edges: of the bins `(-inf, e0], ..., (ek, inf)`, rising; empty for text, and for a column without values.
        categories: of text, most frequent first; one more cell counts all others.
        counts: rows per cell, missing values left out.
        missing: rows that are null or NaN.
        distinct: how many different values.
        zeros: rows that are 0; 0 for text.
        mean, sd, low, high: of finite numbers; None for text, and for a column without values.
        variation: span in days (1, 7) to how far the reference's own windows of that span are from the rest of it, less
            what chance shows; empty without timestamps, or with too few windows.
        missing_variation: the same for the share of missing values.
    """

    name: str
    kind: Kind
    edges: tuple[float, ...]
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int
    distinct: int
    zeros: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    variation: Mapping[int, Variation] = field(default_factory=dict)
    missing_variation: Mapping[int, Variation] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of the reference, missing values included."""
        return self.missing + sum(self.counts)

    def cells_of(self, column: Any) -> Ints:
        """The cell of each value of an Arrow column; -1 where it is missing."""
        if self.kind == "text":
            return cell.text_cells(cell.as_text(column), self.categories)
        return cell.numeric_cells(cell.as_numbers(column, self.name), np.asarray(self.edges, dtype=np.float64))


@dataclass(frozen=True, slots=True)
class LossProfile:
    """The model's loss on rows that it was not trained on.

    Attributes:
        kind: `log_loss` (natural logarithm) where there are probabilities, else `zero_one` (wrong or not).
        rows: labelled rows.
        mean, sd: of the loss per row.
        mean_sd: standard error of the mean; the same customers come back each week, so only one week's worth of rows is counted.
        between_sd: standard deviation of the loss between the reference's weeks, beyond chance; 0 where unknown.
    """

    kind: str
    rows: int
    mean: float
    sd: float
    mean_sd: float
    between_sd: float = 0.0


@dataclass(frozen=True, slots=True)
class ReferenceProfile:
    """A frozen reference: mergeable counts in fixed cells, small enough to travel with the model.

    Attributes:
        columns: the features, in model order.
        probability, prediction: of the model's answers on rows that it was not trained on; None where not given.
        loss: None without labels.
    """

    columns: tuple[ColumnProfile, ...]
    probability: ColumnProfile | None = None
    prediction: ColumnProfile | None = None
    loss: LossProfile | None = None

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
            labels: n values; null where not known. The loss is taken where both are known.
            columns: which features, in order; empty: all of the table.
            predictions: n predicted labels; null as for probabilities.
            timestamps: n times of the rows. With them the reference's own ups and downs set how large a distance must be to be drift.

        Raises:
            InvalidInput: no rows, an unknown column, arrays of another length, or a column that is neither numbers nor text.
        """
        _check(features, columns, (probabilities, labels, predictions, timestamps))
        when = spans(timestamps) if timestamps is not None else {}
        names = tuple(columns) or tuple(features.column_names)
        return cls(
            columns=tuple(_column(name, features.column(name), when) for name in names),
            probability=None if probabilities is None else _column("probability", probabilities, when, known_only=True),
            prediction=None if predictions is None else _column("prediction", predictions, when, known_only=True),
            loss=_loss(probabilities, predictions, labels, when),
        )

    @property
    def fingerprint(self) -> str:
        """The same for the same profile: counts may be summed only where it is the same."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """As JSON; every float comes back exactly."""
        return json.dumps({"format": _FORMAT} | asdict(self), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ReferenceProfile:
        """Read what `to_json` wrote.

        Raises:
            InvalidInput: not a reference profile, or one of a newer format.
        """
        try:
            data = json.loads(text)
            if data["format"] != _FORMAT:
                raise InvalidInput(
                    f"reference profile has format {data['format']}, and this millrace knows {_FORMAT}",
                    hint="upgrade millrace",
                )
            return cls(
                columns=tuple(_read_column(column) for column in data["columns"]),
                probability=_read_column(data["probability"]) if data["probability"] else None,
                prediction=_read_column(data["prediction"]) if data["prediction"] else None,
                loss=LossProfile(**data["loss"]) if data["loss"] else None,
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


def _column(name: str, column: Any, when: Mapping[int, Ints], *, known_only: bool = False) -> ColumnProfile:
    """Profile a column; with `known_only`, null means that there is no such row, not that a value is missing."""
    if known_only:
        keep = column.is_valid()
        column, kept = column.filter(keep), np.asarray(keep, dtype=bool)
        when = {span: numbers[kept] for span, numbers in when.items()}
    kind = cell.kind_of(column.type)
    profile = _text(name, column) if kind == "text" else _numeric(name, cell.as_numbers(column, name))
    return _counted(profile, profile.cells_of(column), when)


def _numeric(name: str, values: Floats) -> ColumnProfile:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ColumnProfile(name, "numeric", (), (), (0,), 0, 0, 0, None, None, None, None)
    edges = tuple(float(edge) for edge in cell.quantile_edges(finite))
    moments = (float(finite.mean()), float(finite.std()), float(finite.min()), float(finite.max()))
    distinct, zeros = len(np.unique(finite)), int((finite == 0).sum())
    return ColumnProfile(name, "numeric", edges, (), (0,) * (len(edges) + 1), 0, distinct, zeros, *moments)


def _text(name: str, column: Any) -> ColumnProfile:
    categories, distinct = cell.frequent_categories(cell.as_text(column))
    counts = (0,) * (len(categories) + 1)
    return ColumnProfile(name, "text", (), categories, counts, 0, distinct, 0, None, None, None, None)


def _counted(profile: ColumnProfile, cells: Ints, when: Mapping[int, Ints]) -> ColumnProfile:
    """The profile with its counts and its variation."""
    size = len(profile.counts)
    counted = cell.count_cells(cells, np.zeros(len(cells), dtype=np.int64), 1, size)[0]
    varies, missing_varies = column_variation(profile.kind, cells, size, when)
    return replace(
        profile,
        counts=tuple(int(count) for count in counted[1:]),
        missing=int(counted[0]),
        variation=varies,
        missing_variation=missing_varies,
    )


def _loss(probabilities: Any, predictions: Any, labels: Any, when: Mapping[int, Ints]) -> LossProfile | None:
    if labels is None or (probabilities is None and predictions is None):
        return None
    losses = row_losses(labels, probabilities, predictions)
    known = np.isfinite(losses)
    if not known.any():
        return None
    values = losses[known]
    weeks = when[7][known] if 7 in when else np.zeros(len(values), dtype=np.int64)  # noqa: PLR2004 - days in a week
    sd = float(values.std())
    return LossProfile(
        kind="zero_one" if probabilities is None else "log_loss",
        rows=len(values),
        mean=float(values.mean()),
        sd=sd,
        mean_sd=sd * float(np.sqrt(len(np.unique(weeks)) / len(values))),
        between_sd=loss_spread(values, weeks),
    )


def _read_column(data: Mapping[str, Any]) -> ColumnProfile:
    variation = {
        key: {int(span): Variation(**value) for span, value in data[key].items()}
        for key in ("variation", "missing_variation")
    }
    lists = {key: tuple(data[key]) for key in ("edges", "categories", "counts")}
    return ColumnProfile(**{**data, **lists, **variation})
