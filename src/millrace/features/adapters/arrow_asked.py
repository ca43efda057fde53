"""What the requests ask of a table: keys as numbers and times, sorted once for all lookups that ask the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.adapters.arrow_keys import KeyCodes, comparable
from millrace.features.adapters.arrow_newest import Questions
from millrace.features.identity import question_us
from millrace.features.types import ResolvedLookup


def alike(requests: pa.Table, lookup: ResolvedLookup) -> object:
    """Equal for two lookups of the same requests that ask the same keys at the same times."""
    return lookup.keys, tuple(_form(stored, asked) for stored, asked in _kinds(requests, lookup)), lookup.timestamp_key


class Asked:
    """The requests' keys and times.

    Attributes:
        questions: those that can have an answer, sorted.
        span: least and greatest value of the first key, where that is whole numbers.
    """

    def __init__(self, requests: pa.Table, lookup: ResolvedLookup, as_of_us: int) -> None:
        self._kinds = _kinds(requests, lookup)
        keys = KeyCodes(self._comparable([requests.column(name) for name in lookup.keys], lookup.keys))
        self._keys, self.span = keys, keys.span
        times, known = _times(requests, lookup, as_of_us)
        self.questions = Questions(keys.codes, times, known, keys.count)

    def codes_of(self, stored: pa.Table) -> np.ndarray:
        """Numbers of stored keys, int32, -1 where nobody asks for them; the keys are the first columns."""
        names = stored.column_names[: len(self._kinds)]
        return self._keys.of(self._comparable(stored.columns[: len(names)], names))

    def _comparable(self, columns: Sequence[pa.ChunkedArray], names: Sequence[str]) -> list[pa.Array]:
        kinds = zip(columns, self._kinds, names, strict=True)
        return [comparable(column, stored, asked, name) for column, (stored, asked), name in kinds]


def filled(times: pa.Array) -> np.ndarray:
    """Microseconds, 0 where there are none."""
    values: np.ndarray = (pc.fill_null(times, 0) if times.null_count else times).to_numpy()
    return values


def _kinds(requests: pa.Table, lookup: ResolvedLookup) -> list[tuple[pa.DataType, pa.DataType]]:
    """For each key column how it is stored and how it is asked."""
    pairs = zip(lookup.source.primary_keys, lookup.keys, strict=True)
    return [(lookup.source.schema.field(key).type, requests.schema.field(name).type) for key, name in pairs]


def _form(stored: pa.DataType, asked: pa.DataType) -> object:
    # Only decimals are compared in a form that hangs on how they are stored, and nulls in any that there is.
    return (stored, asked) if pa.types.is_decimal(stored) or pa.types.is_null(asked) else asked


def _times(requests: pa.Table, lookup: ResolvedLookup, as_of_us: int) -> tuple[np.ndarray, np.ndarray]:
    """The time of each question in microseconds, and which questions have one."""
    count = len(requests)
    if lookup.timestamp_key is None:
        return np.full(count, as_of_us), np.ones(count, np.bool_)
    times = question_us(requests.column(lookup.timestamp_key), lookup.timestamp_key)
    return filled(times), times.is_valid().to_numpy(zero_copy_only=False)
