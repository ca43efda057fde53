"""Columns as cells: which bin or category each value falls into. Counts of cells add up over windows."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.errors import InvalidInput

Kind = Literal["numeric", "text"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BINS = 512
CATEGORIES = 255
COARSE = 32
_MISSING_MASS, _LEAST_SEEN = 0.03, 30


def kind_of(type_: pa.DataType) -> Kind:
    """Text for strings and dictionaries of strings, else numeric."""
    inner = type_.value_type if pa.types.is_dictionary(type_) else type_
    is_text = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    return "text" if is_text or pa.types.is_null(inner) else "numeric"


def as_numbers(column: Any, name: str) -> Floats:
    """Arrow numbers (integers, decimals, booleans, and in microseconds dates, times and durations too) as float64; null is NaN. Not to be written to.

    Raises:
        InvalidInput: the column holds something else.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    try:
        if pa.types.is_temporal(column.type):
            column = column.cast(_in_microseconds(column.type), safe=False).cast(pa.int64())
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        column = column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(
            f"column '{name}' of type {column.type} can't be monitored as a number",
            hint="watch other columns, or log it as a number",
            column=name,
        ) from error
    values: Floats = _view(column, np.dtype(np.float64))
    return np.where(nulls(column), np.nan, values) if column.null_count else values


def as_ints(array: Any, missing: int = 0) -> Ints:
    """An Arrow array of integers or booleans as int64, with `missing` for null. Not to be written to."""
    values: Ints = _view(array.cast(pa.int64()), np.dtype(np.int64))
    return np.where(nulls(array), missing, values) if array.null_count else values


def nulls(array: Any) -> Bools:
    """Where an Arrow array is null."""
    bits = None if array.null_count == 0 else array.buffers()[0]
    if bits is None:
        return np.full(len(array), array.null_count > 0)
    start = array.offset // 8
    stop = -(-(array.offset + len(array)) // 8)
    valid = np.unpackbits(np.frombuffer(bits, np.uint8)[start:stop], bitorder="little")
    return np.equal(valid[array.offset % 8 :][: len(array)], 0)


def as_text(column: Any) -> Any:
    """Any column as Arrow strings."""
    return column.cast(pa.string())


def distinct_values(values: Floats) -> tuple[Floats, Ints]:
    """The different values, rising, and how often each occurs; n > 0 finite numbers."""
    ordered = np.sort(values)
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return ordered[first], np.diff(np.r_[first, len(ordered)])


def quantile_edges(distinct: Floats, repeats: Ints) -> Floats:
    """Edges of cells of at most 1/512 of the rows each; a value that fills more has a cell of its own.

    Cells are `(-inf, e0], (e0, e1], ..., (ek, inf)`; the first and the last are empty here: they catch what is out of
    range. Edges are values that occurred, or lie just below one that has a cell of its own. A KS distance from these cells is never above
    the exact one, and below it by at most 1/512: between two edges the reference rises by no more.

    Args:
        distinct: k > 0 different finite numbers, rising.
        repeats: how often each occurs.
    """
    below = np.r_[0.0, np.cumsum(repeats)]  # rows below each value
    most = below[-1] / BINS
    alone = np.flatnonzero(repeats > most)
    edges = [_below(distinct[0])]
    start = 0
    for stop in [*alone.tolist(), len(distinct)]:
        while start < stop:
            start = min(int(np.searchsorted(below, below[start] + most, side="right")) - 1, stop)
            edges.append(distinct[start - 1] if start < stop or stop == len(distinct) else _below(distinct[stop]))
        if stop < len(distinct):
            edges += [_below(distinct[stop]), distinct[stop]]
            start = stop + 1
    return np.unique(edges)


def coarse_cells(kind: Kind, counts: Ints) -> Ints:
    """The coarse cell of each cell, rising from 0 without gaps: numbers' neighbours together, about 1/32 of the rows each; rare categories together.

    Args:
        kind: of the column.
        counts: the reference's rows in each cell.
    """
    if kind == "text" or not counts.sum():
        return np.minimum(np.arange(len(counts)), COARSE - 1)
    middle = np.cumsum(counts) - counts / 2
    group = np.floor(middle / counts.sum() * COARSE).clip(0, COARSE - 1)
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def frequent_categories(column: Any) -> tuple[tuple[str, ...], Ints, int]:
    """The most frequent texts, up to 255, most frequent first, ties by name; their rows and those of all others; and how many different ones there are.

    Where there are many and more than 3 % of the values occur once, so many of tomorrow's will be new (Good 1953, Turing's estimate), and which of the
    rare ones came today is luck: then only texts that occur 30 times are told apart. Of a column of ids none is.
    """
    counted = pc.value_counts(pc.drop_null(column))
    texts, rows = counted.flatten()
    if not len(texts):
        return (), np.zeros(1, dtype=np.int64), 0
    order = [("rows", "descending"), ("texts", "ascending")]
    first = pc.select_k_unstable(pa.table({"texts": texts, "rows": rows}), CATEGORIES, sort_keys=order)
    every, frequent = as_ints(rows), as_ints(rows.take(first))
    if len(every) > COARSE and (every == 1).sum() > _MISSING_MASS * every.sum():
        frequent = frequent[frequent >= _LEAST_SEEN]
    names = tuple(texts.take(first[: len(frequent)]).to_pylist())
    return names, np.append(frequent, every.sum() - frequent.sum()), len(texts)


def numeric_cells(values: Floats, edges: Floats) -> Ints:
    """The cell of each value, 0 to len(edges); -1 for NaN."""
    cells = np.searchsorted(edges, values, side="left").astype(np.int64)
    return np.where(np.isnan(values), -1, cells)


def text_cells(column: Any, categories: Sequence[str]) -> Ints:
    """The cell of each text, its position among the categories or their number for any other; -1 for null."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    found = as_ints(pc.index_in(column, value_set=_strings(categories)), missing=len(categories))
    return np.where(nulls(column), -1, found)


def count_cells(cells: Ints, windows: Ints, window_count: int, cell_count: int) -> Ints:
    """Rows by window and cell: window_count x (1 + cell_count), missing values first.

    Args:
        cells: n cells from -1 (missing) to cell_count - 1.
        windows: n positions from 0 to window_count - 1.
        window_count: rows of the answer.
        cell_count: columns of the answer, without the one for missing values.
    """
    flat = windows * (cell_count + 1) + cells + 1
    counted = np.bincount(flat, minlength=window_count * (cell_count + 1))
    return counted.reshape(window_count, cell_count + 1).astype(np.int64)


def _in_microseconds(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_duration(type_):
        return pa.duration("us")
    return pa.time64("us") if pa.types.is_time(type_) else pa.timestamp("us")


def _below(value: float) -> float:
    return max(math.nextafter(value, -math.inf), -sys.float_info.max)


# Arrow's `to_numpy`, `array` and `scalar` import pandas, which takes as long as to count a million rows.


def _view(array: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The array's own memory."""
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)


def _strings(texts: Sequence[str]) -> Any:
    """As an Arrow array."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))
