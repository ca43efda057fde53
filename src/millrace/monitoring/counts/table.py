"""The table of counts: windows, versions and slices as rows, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.core.clock import epoch_us
from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.answers import Answers
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.windows import Granularity

_TIME = pa.timestamp("us", tz="UTC")
_MOMENTS = ("values", "total", "squares", "low", "high", "zeros", "nans")
_FLOATS = {"total", "squares", "low", "high"}
_COLUMN = pa.struct(
    [
        ("column_name", pa.string()),
        ("cells", pa.int32()),
        ("cell", pa.list_(pa.int32())),
        ("rows", pa.list_(pa.int64())),
        ("absent", pa.int64()),
        *((name, pa.float64() if name in _FLOATS else pa.int64()) for name in _MOMENTS),
    ]
)
KEYS = ("window_start", "model_version", "slice_key", "slice_value")
SCHEMA = pa.schema(
    [
        ("window_start", _TIME),
        ("granularity", pa.string()),
        ("model_version", pa.string()),
        ("slice_key", pa.string()),
        ("slice_value", pa.string()),
        ("baseline", pa.string()),
        ("layout", pa.string()),
        ("log_version", pa.int64()),
        ("rows", pa.int64()),
        ("newest", _TIME),
        ("answers", pa.string()),
        ("columns", pa.list_(_COLUMN)),
    ]
)


@dataclass(frozen=True, slots=True)
class Part:
    """What is counted: a model version, whole, or a slice of it."""

    version: str
    slice_key: str | None = None
    slice_value: str | None = None

    @property
    def whole(self) -> bool:
        """Whether it is no slice."""
        return self.slice_key is None


@dataclass(frozen=True, slots=True)
class Stamp:
    """By what a row was counted.

    Attributes:
        baseline: the reference's fingerprint.
        layout: a fingerprint of all that counts depend on beside the rows: the reference, the base windows, columns, slices, the log itself.
        log_version: the version of the log that is counted; the newest one of a version's rows says where its next count begins.
    """

    baseline: str
    layout: str
    log_version: int


def encoded(part: Part, windows: Sequence[WindowCounts], stamp: Stamp, granularity: Granularity) -> pa.Table:
    """Windows as rows. Cells without rows are left out: `cell` has the positions of the others, 0 that of missing values."""
    count = len(windows)
    plain = {
        "window_start": [granularity.start(window.number) for window in windows],
        "granularity": [str(granularity)] * count,
        "model_version": [part.version] * count,
        "slice_key": [part.slice_key] * count,
        "slice_value": [part.slice_value] * count,
        "baseline": [stamp.baseline] * count,
        "layout": [stamp.layout] * count,
        "log_version": [stamp.log_version] * count,
        "rows": [window.rows for window in windows],
        "newest": pa.array([window.newest_us for window in windows], pa.int64()).cast(_TIME),
        "answers": [None if window.answers is None else window.answers.to_json() for window in windows],
        "columns": _columns(windows),
    }
    return pa.table(plain, SCHEMA)


def decoded(rows: pa.Table, granularity: Granularity) -> Iterator[tuple[Part, WindowCounts]]:
    """Rows as windows, in their order."""
    rows = rows.combine_chunks()
    if not rows.num_rows:
        return
    lists = rows.column("columns").chunk(0)
    columns = _Columns(lists.flatten())
    ends = np.cumsum([0, *(lists.value_lengths().fill_null(0).to_pylist())])
    for at, row in enumerate(rows.drop_columns(["columns"]).to_pylist()):
        answers = None if row["answers"] is None else Answers.from_json(row["answers"])
        parts = columns.take(int(ends[at]), int(ends[at + 1]))
        newest = None if row["newest"] is None else epoch_us(row["newest"])
        number = granularity.number(row["window_start"])
        window = WindowCounts(number, row["rows"], *parts, answers=answers, newest_us=newest)
        yield Part(row["model_version"], row["slice_key"], row["slice_value"]), window


class _Columns:
    """The flattened column structs of all rows."""

    def __init__(self, structs: Any) -> None:
        self.names: list[str] = structs.field("column_name").to_pylist()
        self.sizes: list[int] = structs.field("cells").to_pylist()
        cell, rows = structs.field("cell"), structs.field("rows")
        self.ends = np.cumsum([0, *cell.value_lengths().to_pylist()])
        self.cell, self.rows = cell.flatten().to_numpy(), rows.flatten().to_numpy()
        self.absent: list[int] = structs.field("absent").to_pylist()
        self.moments = list(zip(*(structs.field(name).to_pylist() for name in _MOMENTS), strict=True))

    def take(self, first: int, last: int) -> tuple[Mapping[str, Ints], Mapping[str, Moments], Mapping[str, int]]:
        cells, moments, absent = dict[str, Ints](), dict[str, Moments](), dict[str, int]()
        for at in range(first, last):
            name, begin, end = self.names[at], self.ends[at], self.ends[at + 1]
            counts = np.zeros(self.sizes[at], dtype=np.int64)
            counts[self.cell[begin:end]] = self.rows[begin:end]
            cells[name] = counts
            if self.moments[at][0] is not None:
                moments[name] = Moments(*self.moments[at])
            if self.absent[at]:
                absent[name] = self.absent[at]
        return cells, moments, absent


def _columns(windows: Sequence[WindowCounts]) -> pa.Array:
    """All columns of all windows in one go: hundreds of cells each would take long as Python's objects."""
    of = [(window, name) for window in windows for name in sorted(window.cells)]
    places = [np.flatnonzero(window.cells[name]) for window, name in of]
    values = [window.cells[name][at] for (window, name), at in zip(of, places, strict=True)]
    ends = pa.array(np.cumsum([0, *map(len, places)]), pa.int32())
    moments = [_moments(window.moments.get(name)) for window, name in of]
    fields: list[Any] = [
        pa.array([name for _, name in of], pa.string()),
        pa.array([len(window.cells[name]) for window, name in of], pa.int32()),
        pa.ListArray.from_arrays(ends, _joined(places, pa.int32())),
        pa.ListArray.from_arrays(ends, _joined(values, pa.int64())),
        pa.array([window.absent.get(name, 0) for window, name in of], pa.int64()),
        *(
            pa.array([one[at] for one in moments], pa.float64() if name in _FLOATS else pa.int64())
            for at, name in enumerate(_MOMENTS)
        ),
    ]
    structs = pa.StructArray.from_arrays(fields, fields=list(_COLUMN))
    return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *(len(w.cells) for w in windows)]), pa.int32()), structs)


def _joined(arrays: Sequence[Ints], kind: pa.DataType) -> pa.Array:
    return pa.array(np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64), kind)


def _moments(one: Moments | None) -> tuple[float | None, ...]:
    if one is None:
        return (None,) * len(_MOMENTS)
    return (one.count, one.total, one.squares, one.low, one.high, one.zeros, one.nans)
