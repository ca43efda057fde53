"""Rows as an Arrow batch: to a matrix without a Python value in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Self

import numpy as np

from millrace.serving.bodies.rows import ValueKind

if TYPE_CHECKING:
    import pyarrow as pa


class Unread:
    """A value of a type that no input takes: a list, an object, bytes, a length of time. Readers refuse it by its column."""


UNREAD = Unread()


@dataclass(frozen=True, slots=True)
class ArrowRows:
    """Rows in columns of plain types (see `is_plain`), by name; no name twice.

    Attributes:
        unread: columns that were sent with types that are not plain.
        numbers: whether all columns are machine numbers.
    """

    batch: pa.RecordBatch
    unread: Sequence[str] = ()
    numbers: bool = False

    def __len__(self) -> int:
        """How many."""
        return int(self.batch.num_rows)

    def typed(self, kinds: Mapping[str, ValueKind]) -> Self:  # noqa: ARG002 - values have types
        """See `Rows.typed`."""
        return self

    def records(self, columns: Sequence[str] | None) -> Sequence[Mapping[str, object]]:  # noqa: ARG002 - they have names
        """See `Rows.records`. Times and dates are ISO 8601 text, as JSON has them."""
        return _records(self.batch, self.unread)

    def first(self) -> Mapping[str, object] | None:
        """See `Rows.first`."""
        return _records(self.batch.slice(0, 1), self.unread)[0]

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """See `Rows.matrix`."""
        import pyarrow as pa

        names = self.batch.schema.names
        if names != list(columns) and not set(columns) <= set(names):
            return None
        asked = self.batch if names == list(columns) else self.batch.select(list(columns))
        if not self.numbers and not are_machine_numbers(asked.schema):
            return _one_by_one(asked)
        try:
            matrix: np.ndarray = asked.to_tensor(null_to_nan=True, row_major=True).to_numpy()
        except pa.ArrowException:
            return _one_by_one(asked)
        return matrix.astype(np.float64, copy=False)


def are_machine_numbers(schema: pa.Schema) -> bool:
    """Whether all columns are floats of 32 or 64 bits, or whole numbers: what needs no further look. Asked of every body."""
    return {kind.id for kind in schema.types} <= _machine_numbers()


@cache
def _machine_numbers() -> frozenset[int]:
    import pyarrow as pa

    whole = (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32, pa.uint64)
    return frozenset(make().id for make in (*whole, pa.float32, pa.float64))


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of this type are read: numbers, decimals, booleans, text, times, dates and nulls, and their dictionaries."""
    import pyarrow as pa

    is_of = pa.types
    if is_of.is_dictionary(kind):
        return not is_of.is_dictionary(kind.value_type) and is_plain(kind.value_type)
    tests = (is_of.is_integer, is_of.is_floating, is_of.is_decimal, is_of.is_boolean, is_of.is_null)
    moments = (is_of.is_timestamp, is_of.is_date)
    return any(test(kind) for test in (*tests, *moments)) or is_text(kind)


def value_bytes(batch: pa.RecordBatch) -> int:
    """How much the values are once each stands for itself.

    A dictionary's values, or texts that are seen through views, may be a thousand times what was sent; and nulls without
    a type take no bytes at all.
    """
    widths = sum(map(value_width, batch.schema.types))
    return int(batch.num_rows) * max(1, widths) + sum(map(_text_bytes, batch.columns))


def _value_type(kind: pa.DataType) -> pa.DataType:
    """Of a dictionary the type of its values, else the same."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def value_width(kind: pa.DataType) -> int:
    """Bytes of a value of a plain type; of a text, those beside its own."""
    import pyarrow as pa

    kind = _value_type(kind)
    return 1 if is_text(kind) or pa.types.is_null(kind) else max(1, kind.bit_width // 8)


def _text_bytes(column: pa.Array) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        if not is_text(column.type.value_type):
            return 0
        sizes = pc.fill_null(_sizes(column.dictionary), 0).take(column.indices)
        return int(pc.sum(sizes.cast(pa.int64())).as_py() or 0)
    return int(pc.sum(_sizes(column)).as_py() or 0) if is_text(column.type) else 0


def _sizes(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string_view(column.type):
        return pc.binary_length(column).cast(pa.int64())
    views = np.frombuffer(column.buffers()[1] or b"", dtype="<i4").reshape(-1, 4)
    return pa.array(views[column.offset : column.offset + len(column), 0].astype(np.int64))


def _records(batch: pa.RecordBatch, unread: Sequence[str]) -> list[dict[str, object]]:
    lists = [*map(_values, batch.columns), *([UNREAD] * batch.num_rows for _ in unread)]
    names = [*batch.schema.names, *unread]
    if not names:
        return [{} for _ in range(batch.num_rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


def _values(column: pa.Array) -> Sequence[object]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        known = [*_values(column.dictionary), None]
        return [known[-1 if place is None else place] for place in column.indices.to_pylist()]
    if pa.types.is_timestamp(kind):
        # What is said of time zones is UTC already; without the zone it is written without a look at zones.
        return [None if text is None else f"{text}Z" for text in _texts(column.cast(pa.timestamp(kind.unit)))]
    if pa.types.is_date(kind):
        return _texts(column)
    values: list[object] = column.to_pylist()
    return values


def _texts(column: pa.Array) -> list[str | None]:
    import pyarrow as pa

    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return texts


def _one_by_one(batch: pa.RecordBatch) -> np.ndarray | None:
    """With the one conversion that training has too; it knows decimals and booleans. None where it finds no numbers."""
    import pyarrow as pa

    from millrace.features.matrix import is_model_type, model_column

    if not all(is_model_type(kind) for kind in batch.schema.types):
        return None
    table = pa.table(batch)
    columns = [model_column(table, name) for name in batch.schema.names]
    if any(column.dtype != np.float64 for column in columns):
        return None
    return np.ascontiguousarray(np.array(columns).T).reshape(batch.num_rows, len(columns))


def is_text(kind: pa.DataType) -> bool:
    """Whether it is text, in any form."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
