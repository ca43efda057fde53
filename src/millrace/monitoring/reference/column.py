"""One column of a reference: its cells, what fell into them, and the same for each of the reference's own windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from millrace.monitoring.reference import cells as cell
from millrace.monitoring.reference.calibrate import Variation, column_variation
from millrace.monitoring.reference.cells import Floats, Ints, Kind

KEPT_WINDOWS = {1: 400, 7: 60}
_NUMBERS = ("edges", "categories", "counts")


@dataclass(frozen=True, slots=True)
class ReferenceWindows:
    """The reference's own windows of one length, oldest first; those without rows are left out. All tuples are equally long.

    Attributes:
        numbers: the windows' numbers, as `Granularity(1, "day")` or `Granularity(1, "week")` gives them.
        rows: missing values included.
        missing: rows that are null or NaN.
        means, sds: of finite numbers; None for text, and for a window without numbers.
        counts: rows per coarse cell, missing values left out.
    """

    numbers: tuple[int, ...]
    rows: tuple[int, ...]
    missing: tuple[int, ...]
    means: tuple[float | None, ...]
    sds: tuple[float | None, ...]
    counts: tuple[tuple[int, ...], ...]


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
        mean, sd, low, high: of finite numbers; None for text, for a column without values, and where they are beyond floats.
        variation: span in days (1, 7) to how far the reference's own windows of that span are from the rest of it, less
            what chance shows; empty without timestamps, or with too few windows.
        missing_variation: the same for the share of missing values.
        windows: span in days (1, 7) to the newest of these windows: 400 days, 60 weeks; empty without timestamps.
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
    windows: Mapping[int, ReferenceWindows] = field(default_factory=dict)

    @classmethod
    def build(cls, name: str, column: Any, when: Mapping[int, Ints]) -> Self:
        """Profile an Arrow column.

        Args:
            name: of the column.
            column: n values.
            when: span in days to the number of the window that each of the n rows is in.

        Raises:
            InvalidInput: it holds neither numbers nor text.
        """
        if cell.kind_of(column.type) == "text":
            profile, values = cls._of_text(name, column), None
        else:
            values = cell.as_numbers(column, name)
            profile = cls._of_numbers(name, values)
        return profile._counted(profile.cells_of(column), values, when)  # noqa: SLF001 - its own

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From what JSON made of it."""
        variation = {
            key: {int(span): Variation(**value) for span, value in data[key].items()}
            for key in ("variation", "missing_variation")
        }
        windows = {int(span): _windows_from(value) for span, value in data.get("windows", {}).items()}
        return cls(**{**data, **{key: tuple(data[key]) for key in _NUMBERS}, **variation, "windows": windows})

    @property
    def rows(self) -> int:
        """Rows of the reference, missing values included."""
        return self.missing + sum(self.counts)

    @property
    def coarse(self) -> Ints:
        """The coarse cell of each cell, rising from 0: at most 32, each of about 1/32 of the values, or a category."""
        return cell.coarse_cells(self.kind, np.array(self.counts, dtype=np.int64))

    def cells_of(self, column: Any) -> Ints:
        """The cell of each value of an Arrow column; -1 where it is missing."""
        if self.kind == "text":
            return cell.text_cells(cell.as_text(column), self.categories)
        return cell.numeric_cells(cell.as_numbers(column, self.name), np.asarray(self.edges, dtype=np.float64))

    @classmethod
    def _of_numbers(cls, name: str, values: Floats) -> Self:
        finite = values[np.isfinite(values)]
        if not len(finite):
            return cls(name, "numeric", (), (), (0,), 0, 0, 0, None, None, None, None)
        distinct, repeats = cell.distinct_values(finite)
        edges = tuple(cell.quantile_edges(distinct, repeats).tolist())
        mean, sd = _moments(finite)
        zeros = int((finite == 0).sum())
        ends = float(distinct[0]), float(distinct[-1])
        return cls(name, "numeric", edges, (), (0,) * (len(edges) + 1), 0, len(distinct), zeros, mean, sd, *ends)

    @classmethod
    def _of_text(cls, name: str, column: Any) -> Self:
        categories, distinct = cell.frequent_categories(cell.as_text(column))
        counts = (0,) * (len(categories) + 1)
        return cls(name, "text", (), categories, counts, 0, distinct, 0, None, None, None, None)

    def _counted(self, cells: Ints, values: Floats | None, when: Mapping[int, Ints]) -> Self:
        """The profile with its counts, its windows and its variation."""
        size = len(self.counts)
        counted = cell.count_cells(cells, np.zeros(len(cells), dtype=np.int64), 1, size)[0]
        counts = tuple(counted[1:].tolist())
        varies, missing_varies = column_variation(self.kind, cells, size, when)
        profile = replace(
            self, counts=counts, missing=int(counted[0]), variation=varies, missing_variation=missing_varies
        )
        # Missing stays -1: it indexes the last place.
        coarse = profile.coarse
        size, coarse = int(coarse[-1]) + 1, np.append(coarse, -1)[cells]
        windows = {
            span: _windows(coarse, size, values, numbers, KEPT_WINDOWS[span])
            for span, numbers in when.items()
            if len(cells)
        }
        return replace(profile, windows=windows)


def _windows(coarse: Ints, size: int, values: Floats | None, numbers: Ints, kept: int) -> ReferenceWindows:
    recent = numbers > numbers.max() - kept
    present, positions = np.unique(numbers[recent], return_inverse=True)
    coarse, values = coarse[recent], None if values is None else values[recent]
    counts = cell.count_cells(coarse, positions.astype(np.int64), len(present), size)
    means: tuple[float | None, ...] = (None,) * len(present)
    sds = means
    if values is not None:
        means, sds = _window_moments(values, positions.astype(np.int64), len(present))
    return ReferenceWindows(
        numbers=tuple(present.tolist()),
        rows=tuple(counts.sum(axis=1).tolist()),
        missing=tuple(counts[:, 0].tolist()),
        means=means,
        sds=sds,
        counts=tuple(map(tuple, counts[:, 1:].tolist())),
    )


def _window_moments(
    values: Floats, positions: Ints, size: int
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    finite = np.isfinite(values)
    values, positions = values[finite], positions[finite]
    # Differences from the mean of all: squares of large numbers that hardly differ would lose what they differ by.
    with np.errstate(over="ignore", invalid="ignore"):
        center = float(values.mean()) if len(values) else 0.0
        rows = np.maximum(np.bincount(positions, minlength=size), 1)
        means = np.bincount(positions, values - center, minlength=size) / rows
        squares = np.bincount(positions, (values - center) ** 2, minlength=size) / rows
        sds = np.sqrt(np.maximum(squares - means**2, 0.0))
    known = np.bincount(positions, minlength=size) > 0
    return _told(means + center, known), _told(sds, known)


def _told(values: Floats, known: cell.Bools) -> tuple[float | None, ...]:
    return tuple(
        value if there else None
        for value, there in zip(values.tolist(), (known & np.isfinite(values)).tolist(), strict=True)
    )


def _moments(finite: Floats) -> tuple[float | None, float | None]:
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.array([finite.mean(), finite.std()])
    mean, sd = _told(found, np.isfinite(found))
    return mean, sd


def _windows_from(data: Mapping[str, Any]) -> ReferenceWindows:
    lists = {key: tuple(value) for key, value in data.items()}
    return ReferenceWindows(**{**lists, "counts": tuple(map(tuple, data["counts"]))})
