"""Binary labels out of a training set's label column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa


def binary_labels(table: pa.Table, column: str) -> np.ndarray:
    """The column as n int64 values, 0 or 1; numbers and booleans are taken.

    Raises:
        InvalidInput: the column is missing, holds nulls, text or other numbers.
    """
    import pyarrow as pa

    if column not in table.column_names:
        raise InvalidInput(
            f"the label column '{column}' is missing", hint=did_you_mean(column, table.column_names), column=column
        )
    values = table.column(column)
    if values.null_count:
        raise InvalidInput(
            f"the label '{column}' is null in {values.null_count} of {len(values)} rows",
            hint="leave out the rows whose label is not known yet",
            column=column,
        )
    try:
        numbers = values.cast(pa.float64()) if not pa.types.is_boolean(values.type) else values.cast(pa.int8())
        labels = np.asarray(numbers.to_numpy(), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _not_binary(column, str(values.type)) from error
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or not np.isin(labels, (0, 1)).all():
        raise _not_binary(column, str(values.type))
    return labels.astype(np.int64)


def both_classes(labels: np.ndarray, column: str) -> None:
    """Check that there is something to learn.

    Raises:
        InvalidInput: no rows, or one class only.
    """
    if len(labels) == 0:
        raise InvalidInput(
            "the training set is empty", hint="check the label table's time range and that its keys have features"
        )
    if labels.min() == labels.max():
        raise InvalidInput(
            f"the label '{column}' is {labels[0]} in all {len(labels)} rows: there is nothing to learn",
            hint="check how the label is made, or take a longer time range, until both 0 and 1 are there",
            column=column,
        )


def _not_binary(column: str, kind: str) -> InvalidInput:
    return InvalidInput(
        f"the label '{column}' ({kind}) holds something else than 0 and 1",
        hint="turn the label into 0 and 1 where it is made",
        column=column,
    )
