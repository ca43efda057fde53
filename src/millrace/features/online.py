"""Features inside a request: the same answers as the offline lookup at the same moment, in microseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.names import TableName, did_you_mean
from millrace.features.defaults import arrow_type, typed_default
from millrace.features.identity import MICROSECOND
from millrace.features.matrix import model_value
from millrace.features.online_keys import KeyReader, key_reader
from millrace.features.port import Key, OnlineStore
from millrace.features.types import FeatureLookup, FeatureSpec, OnlineRow, OnlineTable

ModelValue: TypeAlias = float | str | None
Source: TypeAlias = tuple[str, int | None, int | None]


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

    A feature that the request carries itself wins over the lookup, null included. A time column in the request is
    not read: the question is always asked at `now`.
    """

    def __init__(self, online: OnlineStore, spec: FeatureSpec) -> None:
        self._online = online
        self._spec = spec
        self._positions = {name: position for position, name in enumerate(spec.inputs)}
        self._asked = tuple((self._positions[name], name) for name in spec.request_columns if name in self._positions)
        self._plans: dict[int, _Plan] = {}
        self._key_columns = tuple(dict.fromkeys(column for lookup in spec.lookups for column in lookup.keys))

    def check(self) -> None:
        """Raise now what the first request would raise: a table that is not published, a feature that it lacks."""
        for number in range(len(self._spec.lookups)):
            self._plan(number)

    def augment(self, records: Sequence[Mapping[str, object]], now: datetime) -> list[AugmentedRow]:
        """The model inputs of each record, one read of the store per table.

        Raises:
            InvalidInput: a record lacks a key or an input, or has a value of the wrong type.
            InvalidState: a table is not in the online store.
        """
        now_us = epoch_us(now)
        inputs: list[list[ModelValue]] = [[None] * len(self._positions) for _ in records]
        sources: list[list[Source]] = [[] for _ in records]
        for record, row in zip(records, inputs, strict=True):
            for position, name in self._asked:
                row[position] = _sent(record, name)
        for number in range(len(self._spec.lookups)):
            self._plan(number).fill(self._online, records, inputs, sources, now_us)
        return [
            AugmentedRow(tuple(row), {name: record.get(name) for name in self._key_columns}, tuple(used))
            for row, record, used in zip(inputs, records, sources, strict=True)
        ]

    def _plan(self, number: int) -> _Plan:
        lookup = self._spec.lookups[number]
        name = TableName.parse(lookup.table_name)
        table = self._online.table(name)
        if table is None:
            raise InvalidState(
                f"table {name} is not in the online store", hint="publish it before it is looked up", table=str(name)
            )
        plan = self._plans.get(number)
        if plan is None or plan.types != table.types:
            plan = self._plans[number] = _Plan.of(lookup, table, self._positions)
        return plan


@dataclass(frozen=True, slots=True)
class _Feature:
    column: str
    output: str
    position: int
    missing: ModelValue


@dataclass(frozen=True, slots=True)
class _Plan:
    """One lookup, compiled against what is known of its online table."""

    name: TableName
    shown: str
    types: Mapping[str, str]
    keys: tuple[str, ...]
    readers: tuple[KeyReader, ...]
    features: tuple[_Feature, ...]
    after_us: int
    lookback_us: int | None

    @classmethod
    def of(cls, lookup: FeatureLookup, table: OnlineTable, positions: Mapping[str, int]) -> _Plan:
        if len(lookup.keys) != len(table.primary_keys):
            raise InvalidState(
                f"the online table {table.name} has other keys than the model looks up",
                hint="publish the table again, or train the model again",
                table=str(table.name),
            )
        window = lookup.lookback_window
        return cls(
            name=table.name,
            shown=str(table.name),
            types=table.types,
            keys=lookup.keys,
            readers=tuple(
                key_reader(column, table.types[key])
                for column, key in zip(lookup.keys, table.primary_keys, strict=True)
            ),
            features=tuple(_features(lookup, table, positions)),
            after_us=table.available_after // MICROSECOND,
            lookback_us=None if window is None else window // MICROSECOND,
        )

    def fill(
        self,
        online: OnlineStore,
        records: Sequence[Mapping[str, object]],
        inputs: list[list[ModelValue]],
        sources: list[list[Source]],
        now_us: int,
    ) -> None:
        """Write the features of each record into its place, and where they came from."""
        needing = [
            (number, record)
            for number, record in enumerate(records)
            if any(feature.output not in record for feature in self.features)
        ]
        found = online.get(self.name, [self._key(record) for _, record in needing]) if needing else ()
        for (number, _), stored in zip(needing, found, strict=True):
            row = self._pick(stored, now_us)
            _write(self.features, row, inputs[number])
            source: Source = (self.shown, None, None) if row is None else (self.shown, row.ts_us, row.version)
            sources[number].append(source)
        for record, values in zip(records, inputs, strict=True):
            for feature in self.features:
                if feature.output in record:
                    values[feature.position] = _sent(record, feature.output)

    def _key(self, record: Mapping[str, object]) -> Key:
        return tuple(read(_present(record, column)) for column, read in zip(self.keys, self.readers, strict=True))

    def _pick(self, stored: Sequence[OnlineRow], now_us: int) -> OnlineRow | None:
        for row in stored:
            if row.ts_us is None:
                return row
            age = now_us - row.ts_us - self.after_us
            if age >= 0:
                return row if self.lookback_us is None or age <= self.lookback_us else None
        return None


def _write(features: Sequence[_Feature], row: OnlineRow | None, values: list[ModelValue]) -> None:
    for feature in features:
        value = None if row is None else row.values.get(feature.column)
        values[feature.position] = feature.missing if value is None else model_value(value)


def _features(lookup: FeatureLookup, table: OnlineTable, positions: Mapping[str, int]) -> list[_Feature]:
    identity = {*table.primary_keys, table.timeseries_column}
    names = lookup.feature_names
    if names is None:
        names = [name for name in table.types if name not in identity]
    made = []
    for name in names:
        output = lookup.rename_outputs.get(name, name)
        if output not in positions:
            continue
        if name not in table.types:
            raise InvalidState(
                f"the online table {table.name} has no feature '{name}'",
                hint=f"publish the table again; {did_you_mean(name, table.types)}",
                table=str(table.name),
                feature=name,
            )
        missing = _missing(table.types[name], lookup.default_values.get(output), output)
        made.append(_Feature(name, output, positions[output], missing))
    return made


def _missing(kind: str, default: object, output: str) -> ModelValue:
    stored = arrow_type(kind)
    if default is not None:
        return model_value(typed_default(default, stored, output))
    return None if str(stored) in ("string", "large_string", "string_view") else math.nan


def _present(record: Mapping[str, object], column: str) -> object:
    try:
        return record[column]
    except KeyError:
        raise InvalidInput(
            f"the request has no column '{column}'", hint=did_you_mean(column, record), column=column
        ) from None


def _sent(record: Mapping[str, object], column: str) -> ModelValue:
    try:
        return model_value(_present(record, column))
    except InvalidInput as error:
        if "column" in error.facts and error.facts["column"] == column:
            raise
        raise InvalidInput(f"column '{column}': {error.message}", hint=error.hint, column=column) from error
