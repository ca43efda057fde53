"""Keys as small whole numbers: equal exactly where all key columns are equal, -1 for a key that nobody asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.identity import key_column

_LARGEST = np.iinfo(np.int64).max
# A table over the span of the keys is faster than hashing them, and takes 4 bytes for each number in it.
_SPAN_PER_KEY, _LEAST_SPAN = 4, 1 << 16


def comparable(column: pa.ChunkedArray, stored: pa.DataType, asked: pa.DataType, name: str) -> pa.Array:
    """A stored or an asked key column in the one form in which both are compared: by value, nothing rounded.

    Raises:
        InvalidInput: a time with nanoseconds that would be lost.
    """
    if pa.types.is_uint64(column.type):  # what int64 can't hold is stored nowhere
        column = pc.if_else(pc.less_equal(column, pa.scalar(_LARGEST, pa.uint64())), column, None).cast(pa.int64())
    form = key_column(column, stored, name)
    if pa.types.is_decimal(stored) and not pa.types.is_null(asked):
        form = form.cast(_wider(stored, asked.value_type if pa.types.is_dictionary(asked) else asked))
    elif pa.types.is_binary(form.type) or pa.types.is_fixed_size_binary(form.type):
        form = form.cast(pa.large_binary())
    return form.combine_chunks() if isinstance(form, pa.ChunkedArray) else form


class KeyCodes:
    """Numbers the keys that are asked for; then says the number of any other key.

    Args:
        columns: the asked keys, column by column, comparable; a null in any of them makes the key match nothing.

    Attributes:
        codes: int32 for each asked key, -1 where it has a null.
        count: how many different keys.
    """

    def __init__(self, columns: Sequence[pa.Array]) -> None:
        self._columns = [_Values(column) for column in columns]
        self._pairs: list[_Values] = []
        codes = self._columns[0].codes(columns[0])
        for column, values in zip(columns[1:], self._columns[1:], strict=True):
            pair = _pair(codes, values.codes(column), values.count)
            self._pairs.append(_Values(pair))
            codes = self._pairs[-1].codes(pair)
        self.codes = codes
        self.count = (self._pairs or self._columns)[-1].count

    def of(self, columns: Sequence[pa.Array]) -> np.ndarray:
        """Numbers of stored keys, int32; -1 where nobody asks for them."""
        codes = self._columns[0].codes(columns[0])
        for column, values, pairs in zip(columns[1:], self._columns[1:], self._pairs, strict=True):
            codes = pairs.codes(_pair(codes, values.codes(column), values.count))
        return codes

    @property
    def span(self) -> tuple[int, int] | None:
        """Least and greatest asked value of the first key column, where that is whole numbers."""
        return self._columns[0].span


class _Values:
    """The different values of one column, numbered.

    Attributes:
        count: how many.
        span: least and greatest, where they are whole numbers.
    """

    def __init__(self, column: pa.Array) -> None:
        self.span = _span(column)
        self._table = None if self.span is None else _table(column, *self.span)
        self._values: pa.Array | None = None
        if self._table is not None:
            self.count = int(self._table.max()) + 1
        else:
            self._values = column.unique().drop_null()
            self.count = len(self._values)

    def codes(self, column: pa.Array) -> np.ndarray:
        if self._table is None or self.span is None:
            found = pc.index_in(column, value_set=self._values)
            return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False))
        values: np.ndarray = (pc.fill_null(column, 0) if column.null_count else column).to_numpy()
        # Differences wrap around: as unsigned, what lies outside of the span is large on either side.
        places = values.view(np.uint64) - np.uint64(self.span[0] % (1 << 64))
        np.minimum(places, np.uint64(len(self._table) - 1), out=places)
        codes: np.ndarray = self._table[places.view(np.int64)]
        if column.null_count:
            codes[column.is_null().to_numpy(zero_copy_only=False)] = -1
        return codes


def _span(column: pa.Array) -> tuple[int, int] | None:
    if not pa.types.is_int64(column.type) or column.null_count == len(column):
        return None
    found = pc.min_max(column)
    return found["min"].as_py(), found["max"].as_py()


def _table(column: pa.Array, least: int, greatest: int) -> np.ndarray | None:
    """The code at each value's distance from the least, -1 in the gaps and in one more place at the end."""
    if greatest - least + 2 > max(_SPAN_PER_KEY * len(column), _LEAST_SPAN):
        return None
    there = np.zeros(greatest - least + 2, np.bool_)
    there[column.drop_null().to_numpy() - least] = True
    table = np.cumsum(there, dtype=np.int32) - 1
    table[~there] = -1
    return table


def _pair(left: np.ndarray, right: np.ndarray, count: int) -> pa.Array:
    """Two codes as one whole number, null where either is missing. Both are below 2**31: it always fits."""
    mixed = left.astype(np.int64) * count + right
    return pa.array(mixed, mask=(left < 0) | (right < 0))


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    scale = max(one.scale, other.scale)
    digits = max(one.precision - one.scale, other.precision - other.scale) + scale
    return pa.decimal128(digits, scale) if digits <= pa.decimal128(38).precision else pa.decimal256(digits, scale)
