"""Slices of a log: rows that share a value of a column, or for which a SQL expression says the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.sql import mentioned, open_sql, refusal, without_zones

MOST_VALUES = 50
_HINT = "write a column, or a SQL expression over the log's columns that has a value for each row, as amount > 100"


@dataclass(slots=True)
class Slices:
    """A monitor's slices over one log. Rows for which a slice has no value (null) are in none of its slices.

    Attributes:
        keys: as the user wrote them.
        columns: what has to be read for them.
        values: key to the values that have a slice, at most 50; those that come first get one, the most frequent first.
        left_out: key to how many rows came with other values.
    """

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    values: dict[str, list[str]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, keys: Sequence[str], schema: pa.Schema, known: Mapping[str, Sequence[str]]) -> Slices:
        """Check the slices against the log's columns.

        Args:
            keys: columns or expressions.
            schema: of the log.
            known: values that have a slice already.

        Raises:
            InvalidInput: an expression that can't be computed from the log's columns.
        """
        columns = dict[str, None]()
        for key in keys:
            _check(key, schema)
            columns |= dict.fromkeys([key] if key in schema.names else mentioned(key, schema.names))
        return cls(tuple(keys), tuple(columns), {key: list(known.get(key, ())) for key in keys})

    def places(self, key: str, rows: pa.Table) -> Ints:
        """For each row the position of its value in `values[key]`; -1 where it is in no slice. New values are entered."""
        found = _evaluated(key, rows)
        encoded = pc.dictionary_encode(found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found)
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        names, values = encoded.dictionary.to_pylist(), self.values[key]
        counts = np.bincount(codes[codes >= 0], minlength=len(names))
        for at in sorted(range(len(names)), key=lambda at: (-counts[at], names[at])):
            if names[at] not in values:
                if len(values) < MOST_VALUES:
                    values.append(names[at])
                else:
                    self.left_out[key] += int(counts[at])
        positions = {value: at for at, value in enumerate(values)}
        places = np.array([*(positions.get(name, -1) for name in names), -1], dtype=np.int64)
        return np.asarray(places[codes], dtype=np.int64)

    def notes(self) -> list[str]:
        """What a user should hear of values that have no slice."""
        return [
            f"slice {key}: {rows:,} rows have other values than the {MOST_VALUES} that have a slice of their own"
            for key, rows in self.left_out.items()
        ]


def _check(key: str, schema: pa.Schema) -> None:
    import duckdb

    try:
        rows = len(_evaluated(key, schema.empty_table()))
    except (duckdb.Error, pa.ArrowException) as error:
        if re.fullmatch(r"\w+", key) and key not in schema.names:
            hint = did_you_mean(key, schema.names)
            raise InvalidInput(f"slice '{key}' is no column of the log", hint=hint, slice=key) from error
        raise InvalidInput(f"slice '{key}' can't be computed: {refusal(error)}", hint=_HINT, slice=key) from error
    if rows:
        raise InvalidInput(f"slice '{key}' is one value for all rows together", hint=_HINT, slice=key)


def _evaluated(key: str, rows: pa.Table) -> Any:
    if key in rows.column_names:
        return rows.column(key).cast(pa.string())
    with open_sql() as connection:
        connection.register("rows", without_zones(rows))
        query = f"SELECT CAST(({key}) AS VARCHAR) AS value FROM rows"
        return connection.sql(query).to_arrow_table().column("value")
