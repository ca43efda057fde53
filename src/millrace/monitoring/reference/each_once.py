"""A prediction counts once, however often it was logged or labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def each_once(log: pa.Table, keys: Sequence[str], label: str) -> pa.Table:
    """The log with one row for each identity, in its order, the first row of each: with the label that any of its rows has.

    Rows of one identity with different labels keep none: which one is true is not known. Rows whose identity is null in
    any key are kept as they are.

    Args:
        log: n rows.
        keys: columns that identify a prediction, `request_id` and `row`; a log that lacks one of them comes back as it is.
        label: the label column, which may be missing.
    """
    if not keys or not set(keys) <= set(log.column_names) or not log.num_rows:
        return log
    numbers = np.arange(log.num_rows)
    known = np.all([np.asarray(log.column(name).is_valid()) for name in keys], axis=0)
    table = log.select([*keys, *({label} & set(log.column_names))]).append_column("__row__", pa.array(numbers))
    identified = table.filter(pa.array(known))
    if len(identified.group_by(list(keys)).aggregate([])) == identified.num_rows:
        return log
    wanted: list[Any] = [("__row__", "min")]
    if label in log.column_names:
        wanted += [(label, "min"), (label, "max")]
    found = identified.group_by(list(keys)).aggregate(wanted).sort_by("__row___min")
    if label in log.column_names:
        agreed = pc.equal(found.column(f"{label}_min"), found.column(f"{label}_max"))
        labels = pc.if_else(agreed, found.column(f"{label}_min"), None)
        column = _placed(log.column(label), found.column("__row___min"), labels)
        log = log.set_column(log.column_names.index(label), log.schema.field(label), column)
    kept = ~known
    kept[found.column("__row___min").to_numpy()] = True
    return log.filter(pa.array(kept))


def _placed(column: Any, rows: Any, values: Any) -> Any:
    """The column with other values at some rows, given in rising order."""
    mask = np.zeros(len(column), dtype=bool)
    mask[rows.to_numpy()] = True
    whole = column.combine_chunks()
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return pc.replace_with_mask(whole, pa.array(mask), values.cast(whole.type))
