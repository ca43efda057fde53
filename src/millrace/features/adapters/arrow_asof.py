"""The as-of join on Arrow and NumPy: keys and times are read first, then only the rows that answer something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import epoch_us
from millrace.core.errors import LawBroken
from millrace.features.adapters.arrow_gather import gather
from millrace.features.adapters.arrow_keys import KeyCodes, comparable
from millrace.features.adapters.arrow_newest import Newest
from millrace.features.adapters.arrow_parts import Footers, Part, list_parts, unreadable
from millrace.features.identity import DAY_US, MICROSECOND, event_us, question_us
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
        with _reading(lookup.source):
            parts = list(list_parts(lookup.source, self.footers))
            rows = self._rows(requests, lookup, epoch_us(as_of), parts)
            return gather(parts, rows, lookup, self._each)

    def _rows(self, requests: pa.Table, lookup: ResolvedLookup, as_of_us: int, parts: Sequence[Part]) -> np.ndarray:
        """Per request the number of the row that answers it, -1 for none."""
        source = lookup.source
        keys = _Keys(requests, lookup)
        asked_us, known = _asked(requests, lookup, as_of_us)
        newest = Newest(keys.codes.codes, asked_us, known, keys.codes.count)
        wanted = [part for part in parts if len(newest) and _may_answer(part, keys.codes, newest, lookup, as_of_us)]

        def search(piece: tuple[pa.Table, int]) -> None:
            stored, first = piece
            codes = keys.of(stored)
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


class _Keys:
    """The requests' keys, and the same numbers for stored ones."""

    def __init__(self, requests: pa.Table, lookup: ResolvedLookup) -> None:
        self._names = lookup.source.primary_keys
        self._stored = [lookup.source.schema.field(name).type for name in self._names]
        self._asked = [requests.schema.field(name).type for name in lookup.keys]
        self.codes = KeyCodes(self._comparable([requests.column(name) for name in lookup.keys], lookup.keys))

    def of(self, rows: pa.Table) -> np.ndarray:
        return self.codes.of(self._comparable(rows.columns, self._names))

    def _comparable(self, columns: Sequence[pa.ChunkedArray], names: Sequence[str]) -> list[pa.Array]:
        kinds = zip(columns, self._stored, self._asked, names, strict=False)  # rows have their time after the keys
        return [comparable(column, stored, asked, name) for column, stored, asked, name in kinds]


def _asked(requests: pa.Table, lookup: ResolvedLookup, as_of_us: int) -> tuple[np.ndarray, np.ndarray]:
    """The time of each question in microseconds, and which questions have one."""
    count = len(requests)
    if lookup.timestamp_key is None:
        return np.full(count, as_of_us), np.ones(count, np.bool_)
    times = question_us(requests.column(lookup.timestamp_key), lookup.timestamp_key)
    return _filled(times), times.is_valid().to_numpy(zero_copy_only=False)


def _seen(stored: pa.Table, source: FeatureSource, as_of_us: int) -> tuple[np.ndarray, np.ndarray]:
    """From when each stored row can be seen, and whether that is so at the reading."""
    time = source.timeseries_column
    if time is None:
        always = np.full(len(stored), np.iinfo(np.int64).min + 1)
        return always, np.ones(len(stored), np.bool_)
    times = event_us(stored.column(time), time, source.date_stands_for)
    delay = source.available_after // MICROSECOND
    event = _filled(times)
    # Compared before the delay is added, so that no sum is too large.
    seen = event <= min(as_of_us, _LARGEST) - delay
    if times.null_count:
        seen &= times.is_valid().to_numpy(zero_copy_only=False)
    return event + delay, seen


def _may_answer(part: Part, keys: KeyCodes, newest: Newest, lookup: ResolvedLookup, as_of_us: int) -> bool:
    """Whether a row of this part can answer anything, from what its file says of keys and times."""
    source = lookup.source
    if keys.span is not None and _outside(part.bounds(source.primary_keys[0]), *keys.span):
        return False
    if source.timeseries_column is None:
        return True
    first = None
    if lookup.lookback is not None:
        first = newest.first_us - lookup.lookback // MICROSECOND
    bounds = part.bounds(source.timeseries_column)
    return not _outside(_seen_bounds(bounds, source), first, min(newest.last_us, as_of_us))


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


def _filled(times: pa.Array) -> np.ndarray:
    """Microseconds, 0 where there are none."""
    values: np.ndarray = (pc.fill_null(times, 0) if times.null_count else times).to_numpy()
    return values


@contextmanager
def _reading(source: FeatureSource) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise unreadable(source) from error
