"""Slices of a holdout: the rows of one category, or of one range of a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from millrace.validation.types import Columns

_RANGES = 4  # quarters: few enough that each has rows, many enough to find a broken end
_FEW = 8  # a number with so few values is a category
_MOST_CATEGORIES = 20
_MOST_COLUMNS = 100
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Slice:
    """Some rows. `name` says which, as `region = 'north'`; `rows` are n booleans."""

    name: str
    rows: Mask


def find_slices(columns: Columns, names: Sequence[str] | None, min_rows: int) -> list[Slice]:
    """Categories (the most frequent), quarters of numbers, and missing values, each with `min_rows` rows at least; never all rows.

    Args:
        columns: column name to its n values.
        names: which columns; None: the first 100.
        min_rows: what a slice must have.
    """
    chosen = list(columns)[:_MOST_COLUMNS] if names is None else names
    found = (each for name in chosen for each in _of_column(name, columns[name]))
    return [each for each in found if min_rows <= int(each.rows.sum()) < len(each.rows)]


def _of_column(name: str, values: np.ndarray) -> Iterator[Slice]:
    missing = _missing(values)
    if missing.any():
        yield Slice(f"{name} missing", missing)
    if values.dtype == object:
        yield from _categories(name, _most_frequent(values[~missing]), values)
        return
    distinct = np.unique(values[~missing])
    if len(distinct) <= _FEW:
        yield from _categories(name, {float(each): f"{each:g}" for each in distinct}, values)
    else:
        yield from _ranges(name, values, missing)


def _categories(name: str, named: Mapping[object, str], values: np.ndarray) -> Iterator[Slice]:
    for value, said in named.items():
        yield Slice(f"{name} = {said}", np.asarray(values == value, dtype=np.bool_))


def _most_frequent(values: np.ndarray) -> Mapping[object, str]:
    kinds, counts = np.unique(values.astype(str), return_counts=True)
    kept = kinds[np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]]
    return {str(kind): repr(str(kind)) for kind in kept}


def _ranges(name: str, values: np.ndarray, missing: Mask) -> Iterator[Slice]:
    # Edges are values that occur, so that a reader finds them in the table again.
    edges = np.unique(np.quantile(values[~missing], np.linspace(0, 1, _RANGES + 1), method="inverted_cdf"))
    for number, (low, high) in enumerate(pairwise(edges.tolist())):
        last = number == len(edges) - 2
        inside = (values >= low) & ((values <= high) if last else (values < high))
        yield Slice(f"{name} from {low:.4g} {'to' if last else 'to under'} {high:.4g}", inside & ~missing)


def _missing(values: np.ndarray) -> Mask:
    if values.dtype == object:
        return np.array([value is None or value != value for value in values], dtype=np.bool_)  # noqa: PLR0124 - NaN
    return np.asarray(np.isnan(values), dtype=np.bool_)
