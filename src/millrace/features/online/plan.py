"""A model's lookups, compiled against what is known of their online tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.names import TableName, did_you_mean
from millrace.features.defaults import arrow_type, typed_default
from millrace.features.identity import MICROSECOND
from millrace.features.matrix import model_value
from millrace.features.online.keys import KeyReader, key_reader
from millrace.features.port import Key, OnlineStore
from millrace.features.types import FeatureLookup, FeatureSpec, OnlineRow, OnlineTable

ModelValue: TypeAlias = float | str | None
Source: TypeAlias = tuple[str, int | None, int | None]
Record: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests while they are answered, a place per record: model inputs, values as stored, and where they came from."""

    records: Sequence[Record]
    inputs: Sequence[list[ModelValue]]
    found: Sequence[dict[str, object]]
    sources: Sequence[list[Source]]

    @classmethod
    def of(cls, records: Sequence[Record], width: int) -> Asked:
        """Nothing is known yet of these records; the model has `width` inputs."""
        return cls(records, [[None] * width for _ in records], [{} for _ in records], [[] for _ in records])


class LookupPlans:
    """The lookups of a spec over an online store. Thread-safe.

    A plan is made again when its table is published with other columns, keys or another delay.

    Args:
        online: where the rows are.
        spec: its lookups.
        positions: output to its place among the model's inputs; those that have none are not written there.
        kept: outputs that are wanted as they are stored.
    """

    def __init__(
        self, online: OnlineStore, spec: FeatureSpec, positions: Mapping[str, int], kept: Collection[str]
    ) -> None:
        self._online, self._spec = online, spec
        self._positions, self._kept = positions, frozenset(kept)
        self._plans: dict[int, LookupPlan] = {}
        self.key_columns = tuple(dict.fromkeys(column for lookup in spec.lookups for column in lookup.keys))

    def all(self) -> list[LookupPlan]:
        """The plans, in the order of the lookups. Raises InvalidState where a table is not published, or lacks a feature."""
        return [self._plan(number) for number in range(len(self._spec.lookups))]

    def fill(self, asked: Asked, now_us: int) -> None:
        """Write the features of each record into its inputs, and those that are kept into `found`; say where from."""
        for plan in self.all():
            plan.fill(self._online, asked, now_us)

    def keys_of(self, record: Record) -> Mapping[str, object]:
        """The lookup keys in a record, by request column."""
        return {name: record.get(name) for name in self.key_columns}

    def _plan(self, number: int) -> LookupPlan:
        lookup = self._spec.lookups[number]
        name = TableName.parse(lookup.table_name)
        table = self._online.table(name)
        if table is None:
            raise InvalidState(
                f"table {name} is not in the online store", hint="publish it before it is looked up", table=str(name)
            )
        plan = self._plans.get(number)
        if plan is None or plan.rules != rules_of(table):
            plan = self._plans[number] = LookupPlan.of(lookup, table, self._positions, self._kept)
        return plan


Rules: TypeAlias = tuple[Mapping[str, str], tuple[str, ...], timedelta]


def rules_of(table: OnlineTable) -> Rules:
    """What a plan takes from a table: other rules, another plan."""
    return table.types, table.primary_keys, table.available_after


@dataclass(frozen=True, slots=True)
class PlannedFeature:
    """A feature of a lookup. `missing` is what a null is to the model, `default` what it is to a function."""

    column: str
    output: str
    position: int | None
    kept: bool
    missing: ModelValue
    default: object


@dataclass(frozen=True, slots=True)
class LookupPlan:
    """One lookup, compiled."""

    name: TableName
    shown: str
    rules: Rules
    keys: tuple[str, ...]
    readers: tuple[KeyReader, ...]
    features: tuple[PlannedFeature, ...]
    after_us: int
    lookback_us: int | None

    @classmethod
    def of(
        cls, lookup: FeatureLookup, table: OnlineTable, positions: Mapping[str, int], kept: frozenset[str]
    ) -> LookupPlan:
        """Check the lookup against its online table."""
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
            rules=rules_of(table),
            keys=lookup.keys,
            readers=tuple(
                key_reader(column, table.types[key])
                for column, key in zip(lookup.keys, table.primary_keys, strict=True)
            ),
            features=tuple(_features(lookup, table, positions, kept)),
            after_us=table.available_after // MICROSECOND,
            lookback_us=None if window is None else window // MICROSECOND,
        )

    def fill(self, online: OnlineStore, asked: Asked, now_us: int) -> None:
        """Write the features of each record into its place, and where they came from."""
        needing = [
            (number, record)
            for number, record in enumerate(asked.records)
            if any(feature.output not in record for feature in self.features)
        ]
        stored = online.get(self.name, [self._key(record) for _, record in needing]) if needing else ()
        for (number, record), rows in zip(needing, stored, strict=True):
            row = self._pick(rows, now_us)
            self._write(record, row, asked.inputs[number], asked.found[number])
            source: Source = (self.shown, None, None) if row is None else (self.shown, row.ts_us, row.version)
            asked.sources[number].append(source)
        for record, values in zip(asked.records, asked.inputs, strict=True):
            for feature in self.features:
                if feature.output in record and feature.position is not None:
                    values[feature.position] = sent(record, feature.output)

    def _key(self, record: Record) -> Key:
        return tuple(read(present(record, column)) for column, read in zip(self.keys, self.readers, strict=True))

    def _pick(self, stored: Sequence[OnlineRow], now_us: int) -> OnlineRow | None:
        for row in stored:
            if row.ts_us is None:
                return row
            age = now_us - row.ts_us - self.after_us
            if age >= 0:
                return row if self.lookback_us is None or age <= self.lookback_us else None
        return None

    def _write(self, record: Record, row: OnlineRow | None, values: list[ModelValue], found: dict[str, object]) -> None:
        for feature in self.features:
            value = None if row is None else row.values.get(feature.column)
            if feature.position is not None:
                values[feature.position] = feature.missing if value is None else model_value(value)
            if feature.kept and feature.output not in record:
                found[feature.output] = feature.default if value is None else value


def present(record: Record, column: str) -> object:
    """A column's value in a record. Raises InvalidInput where it has none."""
    try:
        return record[column]
    except KeyError:
        raise InvalidInput(
            f"the request has no column '{column}'", hint=did_you_mean(column, record), column=column
        ) from None


def sent(record: Record, column: str) -> ModelValue:
    """A column's value in a record as the model sees it. Raises InvalidInput where there is none, or no model takes it."""
    try:
        return model_value(present(record, column))
    except InvalidInput as error:
        if "column" in error.facts and error.facts["column"] == column:
            raise
        raise InvalidInput(f"column '{column}': {error.message}", hint=error.hint, column=column) from error


def _features(
    lookup: FeatureLookup, table: OnlineTable, positions: Mapping[str, int], kept: frozenset[str]
) -> list[PlannedFeature]:
    identity = {*table.primary_keys, table.timeseries_column}
    names = lookup.feature_names
    if names is None:
        names = [name for name in table.types if name not in identity]
    made = []
    for name in names:
        output = lookup.rename_outputs.get(name, name)
        if output not in positions and output not in kept:
            continue
        if name not in table.types:
            raise InvalidState(
                f"the online table {table.name} has no feature '{name}'",
                hint=f"publish the table again; {did_you_mean(name, table.types)}",
                table=str(table.name),
                feature=name,
            )
        default = _default(table.types[name], lookup.default_values.get(output), output)
        missing = _missing(table.types[name], default) if output in positions else None
        made.append(PlannedFeature(name, output, positions.get(output), output in kept, missing, default))
    return made


def _default(kind: str, default: object, output: str) -> object:
    return None if default is None else typed_default(default, arrow_type(kind), output)


def _missing(kind: str, default: object) -> ModelValue:
    if default is not None:
        return model_value(default)
    return None if kind in ("string", "large_string", "string_view") else math.nan
