"""Labels as they are given: columns of a table, checked, as plain values."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

# What a label is kept as: a number, or, for a model whose predictions are texts, a text.
LabelValue: TypeAlias = float | str
Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class KeyLabels:
    """The labels of one key: times, ascending, and the value at each."""

    times: Sequence[datetime]
    values: Sequence[LabelValue]

    def newest(self, at: datetime, tolerance: timedelta) -> tuple[datetime, LabelValue] | None:
        """Time and value of the newest label from `at - tolerance` to `at`, both inclusive."""
        place = bisect_right(self.times, at) - 1
        if place < 0 or at - self.times[place] > tolerance:
            return None
        return self.times[place], self.values[place]


def labels_by_key(
    labels: pa.Table, keys: Sequence[str], label: str, time: str, *, kind: pa.DataType, as_of: datetime
) -> dict[Key, KeyLabels]:
    """The labels of each key that are not after `as_of`; rows with a null key, time or label are left out.

    Raises:
        InvalidInput: a missing column, a time that is none, labels that `kind` can't hold, or two different labels of one
            key and time.
    """
    check_columns(labels, [*keys, label, time])
    by_key: defaultdict[Key, dict[datetime, LabelValue]] = defaultdict(dict)
    columns = [labels.column(key).to_pylist() for key in keys]
    for number, (at, value, *key) in enumerate(
        zip(_moments(labels, time), label_values(labels, label, kind), *columns, strict=True), start=1
    ):
        if at is None or value is None or at > as_of or None in key:
            continue
        if by_key[tuple(key)].setdefault(at, value) != value:
            raise InvalidInput(
                f"two different labels have the same key and time; the second is row {number}",
                hint=f"keep one for each ({', '.join(keys)})",
                row=number,
            )
    return {key: _ordered(found) for key, found in by_key.items()}


def labels_by_request(labels: pa.Table, label: str, kind: pa.DataType) -> dict[tuple[str, int], LabelValue]:
    """The label of each request and row (0 where there is no such column); rows without a label are left out.

    Raises:
        InvalidInput: a missing column, labels that `kind` can't hold, or two different labels of one request and row.
    """
    check_columns(labels, ["request_id", label])
    rows = labels.column("row").to_pylist() if "row" in labels.column_names else [0] * labels.num_rows
    known: dict[tuple[str, int], LabelValue] = {}
    values = label_values(labels, label, kind)
    for number, (request, row, value) in enumerate(
        zip(labels.column("request_id").to_pylist(), rows, values, strict=True), start=1
    ):
        if value is None or request is None or row is None:
            continue
        if known.setdefault((request, row), value) != value:
            raise InvalidInput(
                f"two different labels are for one request and row; the second is row {number}",
                hint="give one label for each",
                row=number,
            )
    return known


def label_values(labels: pa.Table, name: str, kind: pa.DataType) -> list[LabelValue | None]:
    """The labels as they are kept in a column of this type: numbers as floats (true is 1), texts as they are.

    Raises:
        InvalidInput: numbers for a column of texts, or the other way round.
    """
    import pyarrow.types as kinds

    given = labels.schema.field(name).type
    values: list[Any] = labels.column(name).to_pylist()
    if kinds.is_null(given):
        return values
    is_text = kinds.is_string(given) or kinds.is_large_string(given)
    if kinds.is_string(kind) or kinds.is_large_string(kind):
        if not is_text:
            raise InvalidInput(f"label '{name}' is {given}", hint="the model's classes are texts: give those")
        return values
    if not (kinds.is_boolean(given) or kinds.is_integer(given) or kinds.is_floating(given) or kinds.is_decimal(given)):
        which = f"; the first that is no number is row {_first(values, _is_number)}" if is_text else ""
        raise InvalidInput(f"label '{name}' is {given}{which}", hint="give a number or a boolean")
    return [None if value is None or value != value else float(value) for value in values]  # noqa: PLR0124 - NaN


def check_columns(labels: pa.Table, names: Iterable[str]) -> None:
    """Raise InvalidInput where the labels lack a column."""
    for name in names:
        if name not in labels.column_names:
            raise InvalidInput(f"the labels have no column '{name}'", hint=did_you_mean(name, labels.column_names))


def _first(values: Sequence[str | None], is_one: Callable[[str], bool]) -> int:
    """The number of the first row, from 1, whose text is not what it should be; 1 where all are."""
    return next((number for number, value in enumerate(values, start=1) if value and not is_one(value)), 1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _ordered(found: dict[datetime, LabelValue]) -> KeyLabels:
    ordered = sorted(found.items())
    return KeyLabels([at for at, _ in ordered], [value for _, value in ordered])


def _moments(labels: pa.Table, name: str) -> list[datetime | None]:
    import pyarrow as pa
    import pyarrow.types as kinds

    column = labels.column(name)
    if kinds.is_date(column.type):
        days = column.to_pylist()
        return [
            None if day is None else utc(datetime(day.year, day.month, day.day)) + timedelta(days=1)  # noqa: DTZ001
            for day in days
        ]
    if not kinds.is_timestamp(column.type):
        is_text = kinds.is_string(column.type) or kinds.is_large_string(column.type)
        which = f"; the first that is no time is row {_first(column.to_pylist(), _is_time)}" if is_text else ""
        raise InvalidInput(
            f"label time '{name}' is {column.type}{which}", hint="give timestamps or dates, as 2025-06-30T12:00:00Z"
        )
    return [None if at is None else utc(at) for at in column.cast(pa.timestamp("us", "UTC")).to_pylist()]
