"""The row of each key that can be seen at a time, read out of packed rows column by column: no object per value."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from millrace.features.online.codec import Field, field_of
from millrace.features.online.table import feature_types
from millrace.features.types import OnlineTable

_TIME = np.dtype("<i8")


@dataclass(frozen=True, slots=True)
class Run:
    """Columns that are stored beside each other in one way; only one, where they have no fixed size."""

    place: int
    count: int
    field: Field
    dtype: np.dtype
    offset: int


class RowReader:
    """Reads the packed rows of a table; `codec.py` says how they are written.

    Args:
        table: whose columns they have.
    """

    def __init__(self, table: OnlineTable) -> None:
        types = feature_types(table)
        self.fields = [field_of(kind) for kind in types.values()]
        self.sized = [place for place, field in enumerate(self.fields) if field.sized]
        self.width = (len(types) + 8) // 8
        self.offsets, at = [], self.width + _TIME.itemsize
        for field in self.fields:
            self.offsets.append(at)
            at += struct.calcsize(f"<{field.code}")
        self.size = at
        self.timed = table.timeseries_column is not None
        # What the bitmap of a row without nulls is.
        self.full = ((2 << len(types)) - 1 - (not self.timed)).to_bytes(self.width, "little")
        self.nothing = bytes(self.size)

    def runs(self, places: Sequence[int]) -> list[Run]:
        """Columns, ascending, as few runs: each is read at once."""
        runs: list[Run] = []
        for place in places:
            field, last = self.fields[place], runs[-1] if runs else None
            if last and last.place + last.count == place and last.field is field and not field.sized:
                runs[-1] = replace(last, count=last.count + 1)
            else:
                runs.append(Run(place, 1, field, np.dtype(field.dtype), self.offsets[place]))
        return runs

    def seen(self, packed: Sequence[bytes | None], until_us: Sequence[int], lookback_us: int | None) -> SeenRows:
        """Of each key the newest row until a time, where it is not older than that; one without time is always seen.

        Args:
            packed: the rows of each key, of one at least, newest first; None for a key without rows.
            until_us: event time in microseconds, for each key.
            lookback_us: how old a row may be at that time, in microseconds; None: however old.
        """
        size, nothing = self.size, self.nothing
        # Nearly always it is the newest row of all keys. Where it isn't, each key is looked at.
        heads = b"".join([nothing if rows is None else rows[:size] for rows in packed])
        times: list[int] = np.ndarray(len(packed), _TIME, heads, self.width, size).tolist()
        if max(times) <= min(until_us) and (lookback_us is None or min(times) >= max(until_us) - lookback_us):
            return SeenRows(self, packed, heads, times)
        starts = [
            None if rows is None else self._start(rows, until, None if lookback_us is None else until - lookback_us)
            for rows, until in zip(packed, until_us, strict=True)
        ]
        packed = [None if at is None or rows is None else rows[at:] for at, rows in zip(starts, packed, strict=True)]
        heads = b"".join([nothing if rows is None else rows[:size] for rows in packed])
        return SeenRows(self, packed, heads, np.ndarray(len(packed), _TIME, heads, self.width, size).tolist())

    def _start(self, rows: bytes, until_us: int, since_us: int | None) -> int | None:
        at = 0
        while at < len(rows):
            if not rows[at] & 1:
                return at
            time = int.from_bytes(rows[at + self.width : at + self.width + _TIME.itemsize], "little", signed=True)
            if time <= until_us:
                return at if since_us is None or time >= since_us else None
            at += self.size + sum(self._lengths(rows, at))
        return None

    def _lengths(self, rows: bytes, at: int) -> list[int]:
        """How long the contents of the row there are, of each column without a fixed size."""
        begins = [at + self.offsets[place] for place in self.sized]
        return [int.from_bytes(rows[begin : begin + 4], "little") for begin in begins]

    def contents(self, rows: bytes) -> list[bytes]:
        """The contents of the first row, of each column without a fixed size."""
        found, at = [], self.size
        for length in self._lengths(rows, 0):
            found.append(rows[at : at + length])
            at += length
        return found


class SeenRows:
    """The rows of n keys.

    Args:
        reader: of their table.
        packed: for each key its rows, from the one that is seen on; None where none is.
        heads: the fixed parts of these rows, one after the other; zeros where there is none.
        times: their event times in microseconds; zero where there is none.
    """

    def __init__(self, reader: RowReader, packed: Sequence[bytes | None], heads: bytes, times: list[int]) -> None:
        self._reader, self._packed, self._heads, self._times = reader, packed, heads, times
        self.absent = [number for number, rows in enumerate(packed) if rows is None]
        full = reader.full
        self.whole = not self.absent and all([rows.startswith(full) for rows in packed if rows])  # noqa: C419 - a generator takes twice as long

    def __len__(self) -> int:
        """How many keys."""
        return len(self._packed)

    @cached_property
    def valid(self) -> np.ndarray:
        """N x columns, whether there is a value; the first column is the event time."""
        reader = self._reader
        bitmaps = np.ndarray((len(self), reader.width), np.uint8, self._heads, 0, (reader.size, 1))
        return np.unpackbits(bitmaps, axis=1, bitorder="little").view(bool)

    def times(self) -> Sequence[int | None]:
        """Event times in microseconds; None where there is no row, and for rows without time."""
        if self.whole:
            return self._times if self._reader.timed else [None] * len(self)
        timed = self.valid[:, 0].tolist()
        return [time if known else None for time, known in zip(self._times, timed, strict=True)]

    def block(self, run: Run) -> np.ndarray:
        """N x columns as they are stored, to be read only; what is null is zero."""
        steps = (self._reader.size, run.dtype.itemsize)
        return np.ndarray((len(self), run.count), run.dtype, self._heads, run.offset, steps)

    def values(self, run: Run) -> list[list[object]]:
        """The values of each column in their own type; None where there is none."""
        if run.field.sized:
            columns: list[list[object]] = [list(self._contents[self._reader.sized.index(run.place)])]
        else:
            columns = self.block(run).T.tolist()
        if run.field.read is None and self.whole:
            return columns
        return [self._restored(run.field, place, column) for place, column in enumerate(columns, run.place)]

    def _restored(self, field: Field, place: int, column: list[object]) -> list[object]:
        read = field.read or _as_it_is
        if self.whole:
            return [read(value) for value in column]
        valid = self.valid[:, place + 1].tolist()
        return [read(value) if known else None for value, known in zip(column, valid, strict=True)]

    @cached_property
    def _contents(self) -> list[Sequence[bytes]]:
        """Of each column without a fixed size."""
        none = [b""] * len(self._reader.sized)
        rows = [none if rows is None else self._reader.contents(rows) for rows in self._packed]
        return list(zip(*rows, strict=True))


def _as_it_is(value: object) -> object:
    return value
