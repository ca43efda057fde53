"""Windows of any length, whole or sliced, from rows of the table of counts: sums, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.monitoring.counts.table import KEYS, Part, decoded
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.windows import Granularity

_AT_ONCE = 256
_ORDER = [
    ("model_version", "ascending"),
    ("slice_key", "ascending"),
    ("slice_value", "ascending"),
    ("window_start", "ascending"),
]


@dataclass(frozen=True, slots=True)
class View:
    """Rows of the table of counts, by version, slice and time, with the base windows' numbers."""

    rows: pa.Table
    numbers: Ints
    base: Granularity

    @classmethod
    def of(cls, stored: pa.Table, fresh: pa.Table, anew: AbstractSet[str], base: Granularity) -> View:
        """What is stored, with what was found since in its place; nothing stored counts of the versions that were counted anew."""
        of = stored.column("model_version")
        stored = stored.filter(pc.invert(pc.is_in(of, value_set=pa.array(sorted(anew), pa.string()))))
        found = set(_keys(fresh))
        kept = np.array([key not in found for key in _keys(stored)], dtype=bool)
        rows = pa.concat_tables([stored.filter(pa.array(kept)), fresh])
        rows = rows.filter(pc.greater(rows.column("rows"), 0))
        rows = rows.take(pc.sort_indices(rows.select(KEYS), sort_keys=_ORDER)).combine_chunks()
        times = np.asarray(rows.column("window_start").cast(pa.int64()).to_numpy(), dtype=np.int64)
        return cls(rows, base.numbers(times), base)

    def windows(
        self, version: str, granularity: Granularity, numbers: AbstractSet[int], *, sliced: bool
    ) -> Iterator[tuple[Part, WindowCounts]]:
        """Windows of a version with these numbers by a granularity, whole ones or those of slices: part by part, oldest first."""
        longer = self.longer(granularity)
        mask = pc.and_(
            pc.equal(self.rows.column("model_version"), version),
            pc.is_valid(self.rows.column("slice_key")) if sliced else pc.is_null(self.rows.column("slice_key")),
        )
        kept = np.asarray(mask, dtype=bool) & np.isin(longer, list(numbers))
        current: tuple[Part, WindowCounts] | None = None
        for part, window in self._decoded(np.flatnonzero(kept)):
            number = granularity.number(self.base.start(window.number))
            following = replace(window, number=number)
            if current is None or (current[0], current[1].number) != (part, number):
                if current is not None:
                    yield current
                current = part, following
            else:
                current = part, current[1] + following
        if current is not None:
            yield current

    def present(self, version: str, granularity: Granularity) -> set[int]:
        """Numbers of the version's windows that have rows here."""
        mine = np.asarray(pc.equal(self.rows.column("model_version"), version), dtype=bool)
        return set(np.unique(self.longer(granularity)[mine]).tolist())

    def longer(self, granularity: Granularity) -> Ints:
        """For each row the number of the longer window that it is in."""
        unique, places = np.unique(self.numbers, return_inverse=True)
        numbers = [granularity.number(self.base.start(number)) for number in unique.tolist()]
        return np.array(numbers, dtype=np.int64)[places]

    def _decoded(self, places: Ints) -> Iterator[tuple[Part, WindowCounts]]:
        for first in range(0, len(places), _AT_ONCE):
            yield from decoded(self.rows.take(pa.array(places[first : first + _AT_ONCE])), self.base)


def bases(granularity: Granularity, base: Granularity, numbers: AbstractSet[int]) -> Sequence[tuple[int, int]]:
    """The ranges of base windows that longer windows are made of, first and last."""

    def first(number: int) -> int:
        return base.number(granularity.start(number))

    return [(first(number), first(number + 1) - 1) for number in sorted(numbers)]


def _keys(rows: pa.Table) -> Iterator[tuple[object, ...]]:
    columns: Mapping[str, list[object]] = {name: rows.column(name).to_pylist() for name in KEYS}
    return zip(*columns.values(), strict=True)
