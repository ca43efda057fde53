"""The columns of a request's rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from millrace.core.errors import InvalidInput
from millrace.features.matrix import model_value

ModelValue: TypeAlias = float | str | None
Record: TypeAlias = Mapping[str, object]


def present(record: Record, column: str) -> object:
    """A column's value in a record. Raises InvalidInput where it has none."""
    try:
        return record[column]
    except KeyError:
        raise InvalidInput(
            f"the request has no column '{column}'", hint="send it in every row", column=column
        ) from None


def sent(record: Record, column: str) -> ModelValue:
    """A column's value in a record as the model sees it. Raises InvalidInput where there is none, or no model takes it."""
    try:
        return model_value(present(record, column))
    except InvalidInput as error:
        if "column" in error.facts and error.facts["column"] == column:
            raise
        raise InvalidInput(f"column '{column}': {error.message}", hint=error.hint, column=column) from error
