"""Features inside a request: the same answers as the offline lookup at the same moment, in microseconds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from millrace.features.functions.values import json_values
from millrace.features.matrix import model_value
from millrace.features.online.calls import OnlineFunctions
from millrace.features.online.looked import Looked, Source, Sources
from millrace.features.online.plans import LookupPlans
from millrace.features.online.records import Asked, ModelValue, Record, sent
from millrace.features.port import OnlineStore
from millrace.features.types import FeatureSpec, MissingKeys

__all__ = [
    "AugmentedRow",
    "AugmentedRows",
    "FeatureRow",
    "FeatureRows",
    "ModelValue",
    "OnlineFeatures",
    "OnlineLookup",
    "Source",
    "Sources",
]


@dataclass(frozen=True, slots=True)
class AugmentedRow:
    """One request row, ready for the model.

    Attributes:
        inputs: in the order of `spec.inputs`: floats (a missing number that was looked up is NaN), text, or None.
            None stands for null in a text, and for a null that the request sent itself.
        keys: the lookup keys of the row, by request column.
        sources: (table, event time in us, Delta version) of each feature row that was used; the event time is None
            where there was no row, and for tables without time. Tables that the request overrode wholly are left out.
    """

    inputs: tuple[ModelValue, ...]
    keys: Mapping[str, object]
    sources: Sources


@dataclass(slots=True)
class AugmentedRows:
    """The n rows of requests, ready for the model, column by column. Iterating gives them row by row.

    Attributes:
        numbers: n x inputs float64 in the order of `spec.inputs`; NaN is a missing number.
        others: position to n values, which stand in place of the column in `numbers`: texts, and what the request sent.
        keys: the lookup keys of each row as they were sent, in the order of `key_columns`.
        sources: of each row, as in `AugmentedRow`.
    """

    numbers: np.ndarray
    others: Mapping[int, Sequence[ModelValue]]
    key_columns: tuple[str, ...]
    keys: Sequence[Sequence[object]]
    sources: Sequence[Sources]

    def __len__(self) -> int:
        """How many rows."""
        return len(self.numbers)

    def __getitem__(self, number: int) -> AugmentedRow:
        """One row."""
        inputs = self.numbers[number].tolist()
        for position, column in self.others.items():
            inputs[position] = column[number]
        keys = dict(zip(self.key_columns, self.keys[number], strict=True))
        return AugmentedRow(tuple(inputs), keys, self.sources[number])

    def __iter__(self) -> Iterator[AugmentedRow]:
        """Row by row."""
        return (self[number] for number in range(len(self)))


class OnlineLookup:
    """Finds the inputs of a model for requests. Thread-safe; make one per model and keep it.

    A feature that the request carries itself wins over the lookup and over the function, null included. A time column in
    the request is not read: the question is always asked at `now`, and functions that read that column are given `now`.
    `missing_keys` says what a key gets that has no row that can be seen at `now`.
    """

    def __init__(self, online: OnlineStore, spec: FeatureSpec, missing_keys: MissingKeys = "default") -> None:
        positions = {name: position for position, name in enumerate(spec.inputs)}
        self._functions = OnlineFunctions(spec)
        self._plans = LookupPlans(online, spec, positions, self._functions.columns, missing_keys)
        self._width = len(positions)
        self._asked = tuple((positions[name], name) for name in spec.request_columns if name in positions)
        self._computed = tuple(
            (positions[each.output], each.output, None if each.function.returns == "str" else math.nan)
            for each in spec.functions
            if each.output in positions
        )

    def check(self) -> None:
        """Raise now what the first request would raise: a table that is not published, a feature that it lacks."""
        self._plans.check()

    def augment(self, records: Sequence[Record], now: datetime) -> AugmentedRows:
        """The model inputs of each record, one read of the store per table.

        Raises:
            InvalidInput: a record lacks a key or an input, or has a value of the wrong type; a function failed.
            NotFound: a key has no row, and such requests are refused; the message names its columns.
            InvalidState: a table is not in the online store.
        """
        return self.augment_all([Asked(records, now)])

    def augment_all(self, asked: Sequence[Asked]) -> AugmentedRows:
        """The same for several requests (one at least), the rows of one after those of the other: one read for all of them.

        Raises:
            MillraceError: as `augment`, where one of them is wrong; messages count the rows of all.
        """
        looked, plans = Looked(asked, self._width), self._plans
        for position, name in self._asked:
            looked.others[position] = [sent(record, name) for record in looked.records]
        plans.look_up(looked)
        if self._computed:
            self._compute(looked)
        keys = plans.key_values(looked.records)
        return AugmentedRows(looked.numbers, looked.others, plans.key_columns, keys, looked.sources())

    def _compute(self, looked: Looked) -> None:
        found, moments = looked.found(), looked.moments()
        columns = [looked.column(position) for position, _, _ in self._computed]
        for number, record in enumerate(looked.records):
            for column, (_, output, missing) in zip(columns, self._computed, strict=True):
                if output in record:
                    column[number] = sent(record, output)
                    continue
                value = self._functions.value(output, record, found[number], moments[number], number)
                column[number] = missing if value is None else model_value(value)


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """The features of one request row.

    Attributes:
        values: by name, in the order of the spec, as they are stored: int, float, str, bool, date, datetime, Decimal or
            None. What the request carries itself is as it was sent.
        keys: the lookup keys of the row, by request column.
        sources: as in `AugmentedRow`.
    """

    values: Mapping[str, object]
    keys: Mapping[str, object]
    sources: Sources


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """The features of the n rows of requests, column by column. Iterating gives them row by row.

    Attributes:
        columns: n values by name, in the order of the spec, each as in `FeatureRow`.
        keys: the lookup keys of each row as they were sent, in the order of `key_columns`.
        sources: of each row, as in `AugmentedRow`.
    """

    columns: Mapping[str, Sequence[object]]
    key_columns: tuple[str, ...]
    keys: Sequence[Sequence[object]]
    sources: Sequence[Sources]

    def __len__(self) -> int:
        """How many rows."""
        return len(self.keys)

    def __getitem__(self, number: int) -> FeatureRow:
        """One row."""
        values = {name: column[number] for name, column in self.columns.items()}
        return FeatureRow(values, dict(zip(self.key_columns, self.keys[number], strict=True)), self.sources[number])

    def __iter__(self) -> Iterator[FeatureRow]:
        """Row by row."""
        return (self[number] for number in range(len(self)))

    def as_json(self) -> list[dict[str, object]]:
        """The values of each row as JSON has them: times and dates in ISO 8601, decimals as digits in a text; NaN is null."""
        if not self.columns:
            return [{} for _ in self.keys]
        names, columns = tuple(self.columns), [json_values(column) for column in self.columns.values()]
        return [dict(zip(names, row)) for row in zip(*columns, strict=True)]  # noqa: B905 - a third of the time


class OnlineFeatures:
    """Answers requests with the features of a spec themselves, in their own types. Thread-safe; make one per spec.

    The features are the spec's inputs, in order. The rules are those of `OnlineLookup`.
    """

    def __init__(self, online: OnlineStore, spec: FeatureSpec, missing_keys: MissingKeys = "default") -> None:
        self._functions = OnlineFunctions(spec)
        self._plans = LookupPlans(online, spec, {}, {*spec.inputs, *self._functions.columns}, missing_keys)
        self.columns = spec.inputs
        self._names = frozenset(spec.inputs)
        self._timed = not self._names.isdisjoint(self._functions.times)

    def check(self) -> None:
        """Raise now what the first request would raise: a table that is not published, a feature that it lacks."""
        self._plans.check()

    def find(self, records: Sequence[Record], now: datetime) -> FeatureRows:
        """The features of each record, one read of the store per table.

        Raises:
            InvalidInput: a record lacks a key or a column that a function reads, or has a value of the wrong type; a
                function failed.
            NotFound: a key has no row, and such requests are refused; the message names its columns.
            InvalidState: a table is not in the online store.
        """
        return self.find_all([Asked(records, now)])

    def find_all(self, asked: Sequence[Asked]) -> FeatureRows:
        """The same for several requests (one at least), the rows of one after those of the other: one read for all of them.

        Raises:
            MillraceError: as `find`, where one of them is wrong; messages count the rows of all.
        """
        looked, plans = Looked(asked, 0), self._plans
        plans.look_up(looked)
        columns = looked.kept()
        if self._timed or not columns.keys() >= self._names:
            self._compute(columns, looked)
        return FeatureRows(
            {name: columns[name] for name in self.columns},
            plans.key_columns,
            plans.key_values(looked.records),
            looked.sources(),
        )

    def _compute(self, columns: dict[str, list[object]], looked: Looked) -> None:
        found, moments = looked.found(), looked.moments()
        for name in self.columns:
            columns[name] = [None] * len(found)
        for number, record in enumerate(looked.records):
            for name in self.columns:
                columns[name][number] = self._functions.value(name, record, found[number], moments[number], number)
