"""One column of a reference: its cells, what fell into them, and the same for each of the reference's own days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.monitoring.reference import cells as cell
from millrace.monitoring.reference.cells import Floats, Ints, Kind
from millrace.monitoring.reference.past import Past, ReferenceDays, told
from millrace.monitoring.reference.tally import Groups, Tally, tally_codes, tally_numbers

_TUPLES = ("edges", "categories", "counts")


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
        days: the newest 400 days of the reference; None without timestamps.
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
    days: ReferenceDays | None = None

    @classmethod
    def build(cls, name: str, column: Any, past: Past | None = None) -> Self:
        """Profile an Arrow column of n values; `past` says which days the n rows are of.

        Raises:
            InvalidInput: it holds neither numbers nor text.
        """
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if cell.kind_of(column.type) == "text":
            profile, values = cls._of_text(name, column), None
        else:
            values = cell.as_numbers(column, name)
            profile = cls._of_numbers(name, values)
        if past is None:
            return profile
        return replace(profile, days=past.days(profile.tally(column, past.groups, coarse=True), values))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From what JSON made of it; what is not known any more is left out."""
        known = {one.name: data[one.name] for one in fields(cls) if one.name in data}
        days = data.get("days")
        lists = {key: tuple(data[key]) for key in _TUPLES}
        return cls(**{**known, **lists, "days": None if days is None else ReferenceDays.from_json(days)})

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

    def tally(self, column: Any, groups: Groups, *, coarse: bool = False) -> Tally:
        """Count an Arrow array of n values in the cells, or in the coarse ones, in each group of rows.

        Raises:
            InvalidInput: it holds no numbers where the reference has numbers.
        """
        if self.kind == "text":
            return self._tally_text(column, groups, coarse=coarse)
        edges = np.asarray(self.edges, dtype=np.float64)
        if coarse:
            edges = edges[np.flatnonzero(np.diff(self.coarse))]
        missing = groups.sums(cell.nulls(column)) if column.null_count else None
        return tally_numbers(cell.as_numbers(column, self.name), missing, edges, groups)

    def _tally_text(self, column: Any, groups: Groups, *, coarse: bool) -> Tally:
        if not pa.types.is_dictionary(column.type):
            column = cell.as_text(column).dictionary_encode()
        texts = cell.as_text(column.dictionary)
        cells, size = cell.text_cells(texts, self.categories), len(self.counts)
        if coarse:
            cells, size = np.append(self.coarse, -1)[cells], int(self.coarse[-1]) + 1
        lengths = cell.as_numbers(pc.utf8_length(texts), self.name)
        return tally_codes(cell.as_ints(column.indices, missing=-1), cells, lengths, size, groups)

    @classmethod
    def _of_numbers(cls, name: str, values: Floats) -> Self:
        missing, finite = int(np.isnan(values).sum()), values[np.isfinite(values)]
        below = int(np.isneginf(values).sum())
        if not len(finite):
            return cls(name, "numeric", (), (), (len(values) - missing,), missing, 0, 0, None, None, None, None)
        distinct, repeats = cell.distinct_values(finite)
        edges = cell.quantile_edges(distinct, repeats)
        upto = np.append(0, np.cumsum(repeats))[np.searchsorted(distinct, edges, side="right")]
        counts = np.diff(upto + below, prepend=0, append=len(values) - missing).tolist()
        mean, sd = _moments(finite)
        zeros, ends = int((finite == 0).sum()), (float(distinct[0]), float(distinct[-1]))
        return cls(
            name, "numeric", tuple(edges.tolist()), (), tuple(counts), missing, len(distinct), zeros, mean, sd, *ends
        )

    @classmethod
    def _of_text(cls, name: str, column: Any) -> Self:
        categories, rows, distinct = cell.frequent_categories(cell.as_text(column))
        missing = len(column) - int(rows.sum())
        return cls(name, "text", (), categories, tuple(rows.tolist()), missing, distinct, 0, None, None, None, None)


def _moments(finite: Floats) -> tuple[float | None, float | None]:
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.array([finite.mean(), finite.std()])
    mean, sd = told(found, np.isfinite(found))
    return mean, sd
