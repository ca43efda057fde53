"""Requests, and the columns of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from millrace.core.errors import InvalidInput
from millrace.features.matrix import model_value

ModelValue: TypeAlias = float | str | None
Record: TypeAlias = Mapping[str, object]


class Asked(NamedTuple):
    """A request's rows, and when it is asked."""

    records: Sequence[Record]
    now: datetime


def spans(asked: Sequence[Asked]) -> Iterator[tuple[int, int]]:
    """Where each request's rows are among the rows of all: from the first, up to and without the second number."""
    end = 0
    for records, _ in asked:
        begin, end = end, end + len(records)
        yield begin, end


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
