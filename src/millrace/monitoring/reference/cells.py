"""Columns as cells: which bin or category each value falls into. Counts of cells add up over windows."""

from __future__ import annotations

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

BINS = 64
CATEGORIES = 50


def kind_of(type_: pa.DataType) -> Kind:
    """Text for strings and dictionaries of strings, else numeric."""
    inner = type_.value_type if pa.types.is_dictionary(type_) else type_
    is_text = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    return "text" if is_text or pa.types.is_null(inner) else "numeric"


def as_numbers(column: Any, name: str) -> Floats:
    """Arrow numbers (integers, decimals, booleans, dates and times too) as float64; null is NaN.

    Raises:
        InvalidInput: the column holds something else.
    """
    try:
        if pa.types.is_temporal(column.type):
            column = column.cast(pa.timestamp("us")).cast(pa.int64())
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        values: Floats = np.array(
            column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(
            f"column '{name}' of type {column.type} can't be monitored as a number",
            hint="watch other columns, or log it as a number",
            column=name,
        ) from error
    return values


def as_text(column: Any) -> Any:
    """Any column as Arrow strings."""
    return column.cast(pa.string())


def quantile_edges(values: Floats) -> Floats:
    """Edges that cut the values into bins of about 1/64 each; values that fill several of them get a bin of their own.

    Cells are `(-inf, e0], (e0, e1], ..., (ek, inf)`; the first and the last are empty here: they catch what is out of
    range. Edges are values that occurred (inverse of the empirical distribution), or lie just below one that
    repeats. A KS distance from these cells is never above the exact one, and below it by under 2/64 (1/64 without ties).

    Args:
        values: n finite numbers, n > 0.
    """
    ordered = np.sort(values)
    ranks = np.ceil(np.arange(1, BINS + 1) / BINS * len(ordered)).astype(np.int64) - 1
    cuts = ordered[ranks]
    repeats = cuts[:-1][cuts[:-1] == cuts[1:]]
    distinct = np.unique(ordered)
    if len(distinct) <= BINS:
        cuts = repeats = distinct
    return np.unique(np.r_[np.nextafter(ordered[0], -np.inf), cuts, np.nextafter(repeats, -np.inf)])


def frequent_categories(column: Any) -> tuple[tuple[str, ...], int]:
    """The most frequent texts, up to 50, most frequent first, ties by name; and how many different ones there are."""
    counted = pc.value_counts(pc.drop_null(column)).to_pylist()
    ordered = sorted(counted, key=lambda entry: (-entry["counts"], entry["values"]))
    return tuple(str(entry["values"]) for entry in ordered[:CATEGORIES]), len(ordered)


def numeric_cells(values: Floats, edges: Floats) -> Ints:
    """The cell of each value, 0 to len(edges); -1 for NaN."""
    cells = np.searchsorted(edges, values, side="left").astype(np.int64)
    return np.where(np.isnan(values), -1, cells)


def text_cells(column: Any, categories: Sequence[str]) -> Ints:
    """The cell of each text, its position among the categories or their number for any other; -1 for null."""
    found = pc.index_in(column, value_set=pa.array(categories, pa.string()))
    cells = pc.if_else(pc.is_null(column), -1, pc.fill_null(found, len(categories)))
    return np.array(cells.to_numpy(zero_copy_only=False), dtype=np.int64)


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
