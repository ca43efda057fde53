"""A model's lookups, compiled against what is known of their online tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TypeAlias

from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.features.defaults import arrow_type, typed_default
from millrace.features.identity import MICROSECOND
from millrace.features.matrix import model_value
from millrace.features.online.keys import KeyReader, key_reader
from millrace.features.port import Key, OnlineStore
from millrace.features.types import FeatureLookup, FeatureSpec, MissingKeys, OnlineRow, OnlineTable

ModelValue: TypeAlias = float | str | None
Source: TypeAlias = tuple[str, int | None, int | None]
Record: TypeAlias = Mapping[str, object]
StoredRows: TypeAlias = Sequence[Sequence[OnlineRow]]


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
        missing_keys: what a key without a row gets.
    """

    def __init__(
        self,
        online: OnlineStore,
        spec: FeatureSpec,
        positions: Mapping[str, int],
        kept: Collection[str],
        missing_keys: MissingKeys = "default",
    ) -> None:
        self._online, self._spec = online, spec
        self._positions, self._kept, self._missing_keys = positions, frozenset(kept), missing_keys
        self._whole = frozenset(spec.inputs)
        self._plans: dict[int, LookupPlan] = {}
        self.key_columns = tuple(dict.fromkeys(column for lookup in spec.lookups for column in lookup.keys))

    def all(self) -> list[LookupPlan]:
        """The plans, in the order of the lookups. Raises InvalidState where a table is not published, or lacks a feature."""
        return [self._plan(number) for number in range(len(self._spec.lookups))]

    def fill(self, asked: Asked, now_us: int) -> None:
        """Write the features of each record into its inputs, and those that are kept into `found`; say where from.

        A record that carries all features of a lookup need not have its key, and one that carries all inputs needs none.
        """
        plans = self.all()
        open_ = [number for number, record in enumerate(asked.records) if not record.keys() >= self._whole]
        needing = [[number for number in open_ if plan.needs(asked.records[number])] for plan in plans]
        for plan, numbers, stored in zip(plans, needing, self._read(plans, needing, asked.records), strict=True):
            plan.fill(asked, numbers, stored, now_us)

    def keys_of(self, record: Record) -> Mapping[str, object]:
        """The lookup keys in a record, by request column."""
        return {name: record.get(name) for name in self.key_columns}

    def _read(
        self, plans: Sequence[LookupPlan], needing: Sequence[Sequence[int]], records: Sequence[Record]
    ) -> Iterable[StoredRows]:
        """For each plan the stored rows of the records that need it: one read a table, however many lookups it has."""
        keys: dict[TableName, list[Key]] = {}
        for plan, numbers in zip(plans, needing, strict=True):
            if numbers:
                keys.setdefault(plan.name, []).extend(plan.key(records[number]) for number in numbers)
        stored = {name: iter(self._online.get(name, wanted)) for name, wanted in keys.items()}
        return [
            list(islice(stored[plan.name], len(numbers))) if numbers else ()
            for plan, numbers in zip(plans, needing, strict=True)
        ]

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
            plan = self._plans[number] = LookupPlan.of(lookup, table, self._positions, self._kept, self._missing_keys)
        return plan


Rules: TypeAlias = tuple[Mapping[str, str], tuple[str, ...], timedelta]


def rules_of(table: OnlineTable) -> Rules:
    """What a plan takes from a table: other rules, another plan."""
    return table.types, table.primary_keys, table.available_after


@dataclass(frozen=True, slots=True)
class PlannedFeature:
    """A feature of a lookup. `missing` is what a null is to the model, `default` what it is to a function.

    `absent` and `absent_default` are the same for a key that has no row.
    """

    column: str
    output: str
    position: int | None
    kept: bool
    missing: ModelValue
    default: object
    absent: ModelValue
    absent_default: object


@dataclass(frozen=True, slots=True)
class LookupPlan:
    """One lookup, compiled."""

    name: TableName
    shown: str
    rules: Rules
    keys: tuple[str, ...]
    readers: tuple[KeyReader, ...]
    features: tuple[PlannedFeature, ...]
    outputs: frozenset[str]
    refuses: bool
    after_us: int
    lookback_us: int | None

    @classmethod
    def of(
        cls,
        lookup: FeatureLookup,
        table: OnlineTable,
        positions: Mapping[str, int],
        kept: frozenset[str],
        missing_keys: MissingKeys,
    ) -> LookupPlan:
        """Check the lookup against its online table."""
        if len(lookup.keys) != len(table.primary_keys):
            raise InvalidState(
                f"the online table {table.name} has other keys than the model looks up",
                hint="publish the table again, or train the model again",
                table=str(table.name),
            )
        window = lookup.lookback_window
        features = tuple(_features(lookup, table, positions, kept, missing_keys))
        return cls(
            name=table.name,
            shown=str(table.name),
            rules=rules_of(table),
            keys=lookup.keys,
            readers=tuple(
                key_reader(column, table.types[key])
                for column, key in zip(lookup.keys, table.primary_keys, strict=True)
            ),
            features=features,
            outputs=frozenset(feature.output for feature in features),
            refuses=missing_keys == "404",
            after_us=table.available_after // MICROSECOND,
            lookback_us=None if window is None else window // MICROSECOND,
        )

    def needs(self, record: Record) -> bool:
        """Whether the record lacks a feature of this lookup."""
        return not record.keys() >= self.outputs

    def key(self, record: Record) -> Key:
        """The key to look up for a record. Raises InvalidInput where the record lacks it, or has it in another type."""
        return tuple(read(present(record, column)) for column, read in zip(self.keys, self.readers, strict=True))

    def fill(self, asked: Asked, needing: Sequence[int], stored: StoredRows, now_us: int) -> None:
        """Write the features of each record into its place, and where they came from.

        Args:
            asked: the requests.
            needing: the numbers of the records that lack a feature.
            stored: the rows of their keys, one by one.
            now_us: the time of the question.

        Raises:
            NotFound: a key has no row, and such requests are refused.
        """
        for number, rows in zip(needing, stored, strict=True):
            record, row = asked.records[number], self._pick(rows, now_us)
            if row is None:
                self._write_absent(number, record, asked)
                asked.sources[number].append((self.shown, None, None))
            else:
                self._write(record, row, asked.inputs[number], asked.found[number])
                asked.sources[number].append((self.shown, row.ts_us, row.version))
        for record, values in zip(asked.records, asked.inputs, strict=True):
            for feature in self.features:
                if feature.output in record and feature.position is not None:
                    values[feature.position] = sent(record, feature.output)

    def _pick(self, stored: Sequence[OnlineRow], now_us: int) -> OnlineRow | None:
        for row in stored:
            if row.ts_us is None:
                return row
            age = now_us - row.ts_us - self.after_us
            if age >= 0:
                return row if self.lookback_us is None or age <= self.lookback_us else None
        return None

    def _write_absent(self, number: int, record: Record, asked: Asked) -> None:
        if self.refuses:
            raise NotFound(
                f"row {number}: the key in {', '.join(self.keys)} has no features in {self.shown}",
                hint="ask for keys that are published, or send the features",
                table=self.shown,
                columns=self.keys,
            )
        for feature in self.features:
            if feature.position is not None:
                asked.inputs[number][feature.position] = feature.absent
            if feature.kept and feature.output not in record:
                asked.found[number][feature.output] = feature.absent_default

    def _write(self, record: Record, row: OnlineRow, values: list[ModelValue], found: dict[str, object]) -> None:
        for feature in self.features:
            value = row.values.get(feature.column)
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


def _features(
    lookup: FeatureLookup,
    table: OnlineTable,
    positions: Mapping[str, int],
    kept: frozenset[str],
    missing_keys: MissingKeys,
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
        kind = table.types[name]
        default = _default(kind, lookup.default_values.get(output), output)
        absent = None if missing_keys == "null" else default
        made.append(
            PlannedFeature(
                column=name,
                output=output,
                position=positions.get(output),
                kept=output in kept,
                missing=_missing(kind, default) if output in positions else None,
                default=default,
                absent=_missing(kind, absent) if output in positions else None,
                absent_default=absent,
            )
        )
    return made


def _default(kind: str, default: object, output: str) -> object:
    return None if default is None else typed_default(default, arrow_type(kind), output)


def _missing(kind: str, default: object) -> ModelValue:
    if default is not None:
        return model_value(default)
    return None if kind in ("string", "large_string", "string_view") else math.nan
