"""What differs between rows that should be the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.core.clock import iso

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

# Features are rounded to 12 digits, but sums in another order can fall to the other side of a rounding boundary.
_RELATIVE, _OF_LARGEST = 1e-9, 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """How two tables of the same keys differ.

    Attributes:
        keys: how many keys there were.
        gone: keys that only the first has.
        new: keys that only the second has.
        columns: column to the number of keys, of those that both have, whose value differs.
        example: one of those keys, the column, and its two values, as text; empty where nothing differs.
    """

    keys: int
    gone: int
    new: int
    columns: Mapping[str, int]
    example: Mapping[str, str]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.gone or self.new or self.columns)

    def __str__(self) -> str:
        """In a line."""
        parts = [f"{name} of {count:,} keys" for name, count in self.columns.items()]
        parts += [f"{self.gone:,} keys gone"] if self.gone else []
        parts += [f"{self.new:,} keys more"] if self.new else []
        example = "; ".join(f"{name} {value}" for name, value in self.example.items())
        return f"{', '.join(parts)} (of {self.keys:,})" + (f", for example {example}" if example else "")


def compare(before: pa.Table, after: pa.Table, keys: Sequence[str]) -> Difference:
    """How rows differ that have unique keys and the same columns, in whatever order; floats to nine digits."""
    here, there = _positions(before, keys), _positions(after, keys)
    both = [key for key in here if key in there]
    gone, new = [key for key in here if key not in there], [key for key in there if key not in here]
    left, right = _taken(before, [here[key] for key in both]), _taken(after, [there[key] for key in both])
    columns: dict[str, int] = {}
    example: dict[str, str] = {}
    names = [name for name in dict.fromkeys([*before.column_names, *after.column_names]) if name not in keys]
    for name in names:
        differs = _differs(left, right, name)
        if differs.any():
            columns[name] = int(differs.sum())
            if not example:
                example = _example(left, right, keys, name, int(differs.argmax()))
    if not example and (gone or new):
        example = {**_named(keys, (gone or new)[0]), "": "gone" if gone else "new"}
    return Difference(len(here), len(gone), len(new), columns, example)


def _taken(rows: pa.Table, numbers: list[int]) -> pa.Table:
    import pyarrow as pa

    return rows.take(pa.array(numbers, pa.int64()))


def _positions(rows: pa.Table, keys: Sequence[str]) -> dict[tuple[object, ...], int]:
    values = zip(*(rows.column(key).to_pylist() for key in keys), strict=True)
    return {key: number for number, key in enumerate(values)}


def _differs(left: pa.Table, right: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if name not in left.column_names or name not in right.column_names:
        return np.ones(len(left), dtype=bool)
    one, other = left.column(name), right.column(name)
    null, other_null = pc.is_null(one).to_numpy(), pc.is_null(other).to_numpy()
    if pa.types.is_nested(one.type) or one.type != other.type:
        pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
        return np.array([a != b for a, b in pairs], dtype=bool)
    if pa.types.is_floating(one.type):
        same = _near(_floats(one), _floats(other))
    else:
        same = pc.fill_null(pc.equal(one, other), fill_value=True).to_numpy()
    result: npt.NDArray[np.bool_] = (null != other_null) | (~null & ~other_null & ~same)
    return result


def _floats(values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    import pyarrow as pa

    result: npt.NDArray[np.float64] = values.cast(pa.float64()).fill_null(0.0).to_numpy()
    return result


def _near(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    import numpy as np

    finite = np.abs(one[np.isfinite(one)])
    floor = _OF_LARGEST * (finite.max() if len(finite) else 0.0)
    return np.isclose(one, other, rtol=_RELATIVE, atol=floor, equal_nan=True)


def _example(left: pa.Table, right: pa.Table, keys: Sequence[str], name: str, row: int) -> dict[str, str]:
    key = _named(keys, tuple(left.column(key)[row].as_py() for key in keys))
    values = [
        _text(rows.column(name)[row].as_py()) if name in rows.column_names else "missing" for rows in (left, right)
    ]
    return {**key, name: " becomes ".join(values)}


def _named(keys: Sequence[str], values: Sequence[object]) -> dict[str, str]:
    return {key: _text(value) for key, value in zip(keys, values, strict=True)}


def _text(value: object) -> str:
    from datetime import datetime

    return iso(value) if isinstance(value, datetime) else str(value)
