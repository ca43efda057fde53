"""Features inside a request: the same answers as the offline lookup at the same moment, in microseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from millrace.core.clock import epoch_us
from millrace.features.functions.values import json_value
from millrace.features.matrix import model_value
from millrace.features.online.calls import OnlineFunctions
from millrace.features.online.plan import Asked, LookupPlans, ModelValue, Record, Source, sent
from millrace.features.port import OnlineStore
from millrace.features.types import FeatureSpec, MissingKeys

__all__ = ["AugmentedRow", "FeatureRow", "ModelValue", "OnlineFeatures", "OnlineLookup", "Source"]


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
    sources: tuple[Source, ...]


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
        self._plans.all()

    def augment(self, records: Sequence[Record], now: datetime) -> list[AugmentedRow]:
        """The model inputs of each record, one read of the store per table.

        Raises:
            InvalidInput: a record lacks a key or an input, or has a value of the wrong type; a function failed.
            NotFound: a key has no row, and such requests are refused; the message names its columns.
            InvalidState: a table is not in the online store.
        """
        asked = Asked.of(records, self._width)
        for record, row in zip(records, asked.inputs, strict=True):
            for position, name in self._asked:
                row[position] = sent(record, name)
        self._plans.fill(asked, epoch_us(now))
        if self._computed:
            for number in range(len(records)):
                self._compute(asked, number, now)
        return [
            AugmentedRow(tuple(row), self._plans.keys_of(record), tuple(used))
            for row, record, used in zip(asked.inputs, records, asked.sources, strict=True)
        ]

    def _compute(self, asked: Asked, number: int, now: datetime) -> None:
        record, inputs = asked.records[number], asked.inputs[number]
        for position, output, missing in self._computed:
            if output in record:
                inputs[position] = sent(record, output)
                continue
            value = self._functions.value(output, record, asked.found[number], now, number)
            inputs[position] = missing if value is None else model_value(value)


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
    sources: tuple[Source, ...]

    def as_json(self) -> dict[str, object]:
        """The values as JSON has them: times and dates in ISO 8601, decimals as digits in a text; NaN is null."""
        return {name: json_value(value) for name, value in self.values.items()}


class OnlineFeatures:
    """Answers requests with the features of a spec themselves, in their own types. Thread-safe; make one per spec.

    The features are the spec's inputs, in order. The rules are those of `OnlineLookup`.
    """

    def __init__(self, online: OnlineStore, spec: FeatureSpec, missing_keys: MissingKeys = "default") -> None:
        self._functions = OnlineFunctions(spec)
        self._plans = LookupPlans(online, spec, {}, {*spec.inputs, *self._functions.columns}, missing_keys)
        self.columns = spec.inputs

    def check(self) -> None:
        """Raise now what the first request would raise: a table that is not published, a feature that it lacks."""
        self._plans.all()

    def find(self, records: Sequence[Record], now: datetime) -> list[FeatureRow]:
        """The features of each record, one read of the store per table.

        Raises:
            InvalidInput: a record lacks a key or a column that a function reads, or has a value of the wrong type; a
                function failed.
            NotFound: a key has no row, and such requests are refused; the message names its columns.
            InvalidState: a table is not in the online store.
        """
        asked = Asked.of(records, 0)
        self._plans.fill(asked, epoch_us(now))
        rows = []
        for number, record in enumerate(records):
            found = asked.found[number]
            values = {name: self._functions.value(name, record, found, now, number) for name in self.columns}
            rows.append(FeatureRow(values, self._plans.keys_of(record), tuple(asked.sources[number])))
        return rows
