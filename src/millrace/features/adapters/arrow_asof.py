"""The as-of join on Arrow and NumPy: keys and times are read first, then only the rows that answer something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TypeVar

import numpy as np
import pyarrow as pa

from millrace.core.clock import epoch_us
from millrace.core.errors import LawBroken
from millrace.features.adapters.arrow_asked import Asked, alike, filled
from millrace.features.adapters.arrow_gather import gather
from millrace.features.adapters.arrow_newest import Newest
from millrace.features.adapters.arrow_parts import Footers, Part, list_parts, unreadable
from millrace.features.identity import DAY_US, MICROSECOND, event_us
from millrace.features.types import FeatureSource, ResolvedLookup

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_LARGEST = np.iinfo(np.int64).max
_PIECE_ROWS = 1 << 19


@dataclass(frozen=True, slots=True)
class ArrowAsOfJoin:
    """AsOfJoin over the Parquet files themselves, at most `threads` threads.

    Memory is that of the requests, the result and a few columns of a row group, whatever the table's size.
    """

    threads: int
    footers: Footers = field(default_factory=Footers, repr=False, compare=False)

    def lookup(self, requests: pa.Table, lookup: ResolvedLookup, as_of: datetime) -> pa.Table:
        """See `AsOfJoin.lookup`.

        Raises:
            InvalidState: the files of the table could not be read.
            LawBroken: the newest row of a key is there twice.
        """
        return self.lookup_all(requests, [lookup], as_of)[0]

    def lookup_all(self, requests: pa.Table, lookups: Sequence[ResolvedLookup], as_of: datetime) -> list[pa.Table]:
        """See `SharedAsOfJoin.lookup_all`. Lookups with the same keys and times have their requests sorted once."""
        as_of_us = epoch_us(as_of)
        asked: dict[object, Asked] = {}
        for lookup in lookups:
            if alike(requests, lookup) not in asked:
                asked[alike(requests, lookup)] = Asked(requests, lookup, as_of_us)
        # A thread for each lookup is better used than several threads for one.
        each = replace(self, threads=max(1, self.threads // max(1, len(lookups))))
        return self._each(lambda one: each._answers(asked[alike(requests, one)], one, as_of_us), lookups)  # noqa: SLF001 - its own

    def _answers(self, asked: Asked, lookup: ResolvedLookup, as_of_us: int) -> pa.Table:
        try:
            parts = list(list_parts(lookup.source, self.footers))
            rows = self._rows(asked, lookup, as_of_us, parts)
            return gather(parts, rows, lookup, self._each)
        except (OSError, pa.ArrowInvalid) as error:
            raise unreadable(lookup.source) from error

    def _rows(self, asked: Asked, lookup: ResolvedLookup, as_of_us: int, parts: Sequence[Part]) -> np.ndarray:
        """Per request the number of the row that answers it, -1 for none."""
        source, newest = lookup.source, Newest(asked.questions)
        wanted = [part for part in parts if len(asked.questions) and _may_answer(part, asked, lookup, as_of_us)]

        def search(piece: tuple[pa.Table, int]) -> None:
            stored, first = piece
            codes = asked.codes_of(stored)
            seen_us, seen = _seen(stored, source, as_of_us)
            rows = np.flatnonzero(seen & (codes >= 0))
            newest.add(codes[rows], seen_us[rows], rows + first)

        names = [*source.primary_keys, *_time(source)]
        for few in _in_turn(wanted, 2 * self.threads):
            self._each(search, _pieces(few, self._each(lambda part: part.read(names), few)))
        if newest.twice:
            raise LawBroken(
                f"the lookup of {source.table} gave 2 rows for 1: {newest.twice} of its rows are there twice",
                hint="its primary keys may not be unique; write it through millrace, which refuses duplicates",
                table=str(source.table),
            )
        return newest.rows(lookup.lookback)

    def _each(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """The work on each item, in the order of the items."""
        items = list(items)
        if self.threads == 1 or len(items) < 2:  # noqa: PLR2004 - one needs no thread
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(self.threads, len(items))) as pool:
            return list(pool.map(work, items))


def _seen(stored: pa.Table, source: FeatureSource, as_of_us: int) -> tuple[np.ndarray, np.ndarray]:
    """From when each stored row can be seen, and whether that is so at the reading."""
    time = source.timeseries_column
    if time is None:
        always = np.full(len(stored), np.iinfo(np.int64).min + 1)
        return always, np.ones(len(stored), np.bool_)
    times = event_us(stored.column(time), time, source.date_stands_for)
    delay = source.available_after // MICROSECOND
    event = filled(times)
    # Compared before the delay is added, so that no sum is too large.
    seen = event <= min(as_of_us, _LARGEST) - delay
    if times.null_count:
        seen &= times.is_valid().to_numpy(zero_copy_only=False)
    return event + delay, seen


def _may_answer(part: Part, asked: Asked, lookup: ResolvedLookup, as_of_us: int) -> bool:
    """Whether a row of this part can answer anything, from what its file says of keys and times."""
    source, questions = lookup.source, asked.questions
    if asked.span is not None and _outside(part.bounds(source.primary_keys[0]), *asked.span):
        return False
    if source.timeseries_column is None:
        return True
    first = None
    if lookup.lookback is not None:
        first = questions.first_us - lookup.lookback // MICROSECOND
    bounds = part.bounds(source.timeseries_column)
    return not _outside(_seen_bounds(bounds, source), first, min(questions.last_us, as_of_us))


def _outside(bounds: tuple[object, object] | None, first: int | None, last: int) -> bool:
    if bounds is None or not (isinstance(bounds[0], int) and isinstance(bounds[1], int)):
        return False
    return bounds[0] > last or (first is not None and bounds[1] < first)


def _seen_bounds(bounds: tuple[object, object] | None, source: FeatureSource) -> tuple[int, int] | None:
    """Bounds of event times as bounds of when rows can be seen, microseconds."""
    if bounds is None:
        return None
    least, greatest = (_us(bound) for bound in bounds)
    if least is None or greatest is None:
        return None
    delay = source.available_after // MICROSECOND
    if isinstance(bounds[0], date) and not isinstance(bounds[0], datetime) and source.date_stands_for == "end":
        delay += DAY_US
    # A writer may have cut its bounds to milliseconds.
    return least + delay - 1_000, greatest + delay + 1_000


def _us(bound: object) -> int | None:
    if isinstance(bound, datetime):
        return epoch_us(bound)
    if isinstance(bound, date):
        return (bound - date(1970, 1, 1)) // timedelta(days=1) * DAY_US
    return None


def _in_turn(parts: Sequence[Part], count: int) -> Iterator[Sequence[Part]]:
    for first in range(0, len(parts), count):
        yield parts[first : first + count]


def _pieces(parts: Sequence[Part], read: Sequence[pa.Table]) -> Iterator[tuple[pa.Table, int]]:
    """What was read, in pieces that fit a processor's cache, each with the number of its first row."""
    for part, table in zip(parts, read, strict=True):
        for first in range(0, part.rows, _PIECE_ROWS):
            yield table.slice(first, _PIECE_ROWS), part.first + first


def _time(source: FeatureSource) -> list[str]:
    return [] if source.timeseries_column is None else [source.timeseries_column]
