"""One lookup of a model, compiled against what is known of its online table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TypeAlias

import numpy as np

from millrace.core.errors import InvalidState, NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.features.defaults import arrow_type, typed_default
from millrace.features.identity import MICROSECOND
from millrace.features.matrix import model_value
from millrace.features.online.key_codes import KeyCodes
from millrace.features.online.looked import Looked, Source
from millrace.features.online.records import ModelValue, sent
from millrace.features.online.seen import RowReader, Run, SeenRows
from millrace.features.online.table import feature_types
from millrace.features.port import PackedRows
from millrace.features.types import FeatureLookup, MissingKeys, OnlineTable

Rules: TypeAlias = tuple[Mapping[str, str], tuple[str, ...], str | None, timedelta]


def rules_of(table: OnlineTable) -> Rules:
    """What a plan takes from a table: other rules, another plan."""
    return table.types, table.primary_keys, table.timeseries_column, table.available_after


@dataclass(frozen=True, slots=True)
class PlannedFeature:
    """A feature of a lookup. `missing` is what a null is to the model, `default` what it is to a function.

    `absent` and `absent_default` are the same for a key that has no row. `place` is the column's among those stored,
    `position` the output's among the model's inputs.
    """

    place: int
    output: str
    position: int | None
    kept: bool
    missing: ModelValue
    default: object
    absent: ModelValue
    absent_default: object


class NumberColumns:
    """The features of a lookup that are numbers as they are stored, taken as one matrix.

    Args:
        features: in the order of their places.
        reader: of their table.
    """

    def __init__(self, features: Sequence[PlannedFeature], reader: RowReader) -> None:
        self._runs = reader.runs([feature.place for feature in features])
        self._valid = np.array([feature.place + 1 for feature in features], dtype=np.intp)
        self._missing = np.array([feature.missing for feature in features], dtype=np.float64)
        self._absent = np.array([feature.absent for feature in features], dtype=np.float64)
        self._positions = np.array([feature.position for feature in features], dtype=np.intp)
        first = int(self._positions[0])
        in_order = self._positions.tolist() == list(range(first, first + len(features)))
        self._columns = slice(first, first + len(features)) if in_order else self._positions

    def fill(self, numbers: np.ndarray, rows: Sequence[int], seen: SeenRows) -> None:
        """Write them into the model's inputs, at the rows with these numbers."""
        if len(rows) == len(numbers):
            numbers[:, self._columns] = self._block(seen)
        else:
            numbers[np.ix_(np.array(rows), self._positions)] = self._block(seen)

    def _block(self, seen: SeenRows) -> np.ndarray:
        if seen.whole and len(self._runs) == 1:
            return seen.block(self._runs[0])
        block = np.empty((len(seen), len(self._valid)))
        first = 0
        for run in self._runs:
            block[:, first : first + run.count] = seen.block(run)
            first += run.count
        if not seen.whole:
            block = np.where(seen.valid[:, self._valid], block, self._missing)
            block[seen.absent] = self._absent
        return block


@dataclass(frozen=True, slots=True, eq=False)
class LookupPlan:
    """One lookup, compiled."""

    name: TableName
    shown: str
    keys: tuple[str, ...]
    codes: KeyCodes
    reader: RowReader
    numbers: NumberColumns | None
    others: tuple[tuple[PlannedFeature, Run], ...]
    kept: tuple[tuple[tuple[PlannedFeature, ...], Run], ...]
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
        window, reader = lookup.lookback_window, RowReader(table)
        features = sorted(_features(lookup, table, positions, kept, missing_keys), key=lambda each: each.place)
        inputs = [feature for feature in features if feature.position is not None]
        numbers = [feature for feature in inputs if reader.fields[feature.place].is_number]
        return cls(
            name=table.name,
            shown=str(table.name),
            keys=lookup.keys,
            codes=KeyCodes(lookup.keys, [table.types[key] for key in table.primary_keys]),
            reader=reader,
            numbers=NumberColumns(numbers, reader) if numbers else None,
            others=tuple((each, reader.runs([each.place])[0]) for each in inputs if each not in numbers),
            kept=_by_run([feature for feature in features if feature.kept], reader),
            features=tuple(features),
            outputs=frozenset(feature.output for feature in features),
            refuses=missing_keys == "404",
            after_us=table.available_after // MICROSECOND,
            lookback_us=None if window is None else window // MICROSECOND,
        )

    def fill(self, looked: Looked, rows: Sequence[int], stored: PackedRows) -> None:
        """Write the features of rows into their places, and where they came from.

        Args:
            looked: the requests.
            rows: the numbers of the rows that lack a feature.
            stored: what the store has for their keys.

        Raises:
            NotFound: a key has no row, and such requests are refused.
        """
        after_us, times = self.after_us, looked.times
        seen = self.reader.seen(stored.rows, [times[number] - after_us for number in rows], self.lookback_us)
        if seen.absent and self.refuses:
            raise self._refusal(rows[seen.absent[0]])
        if self.numbers is not None:
            self.numbers.fill(looked.numbers, rows, seen)
        for feature, run in self.others:
            column = looked.column(feature.position or 0)
            for number, value in zip(rows, _inputs(feature, run, seen), strict=True):
                column[number] = value
        for features, run in self.kept:
            for feature, values in zip(features, seen.values(run), strict=True):
                looked.keep(feature.output, rows, values if seen.whole else _stored(feature, values, seen))
        looked.came_from(rows, self._sources(seen, stored.table.version))

    def override(self, looked: Looked) -> None:
        """Write what rows carry themselves, null included, over what was looked up."""
        for number in looked.carrying:
            record = looked.records[number]
            for feature in self.features:
                if feature.output in record and feature.position is not None:
                    looked.column(feature.position)[number] = sent(record, feature.output)

    def _sources(self, seen: SeenRows, version: int) -> list[Source]:
        shown = self.shown
        sources: list[Source] = [(shown, time, version) for time in seen.times()]
        for number in seen.absent:
            sources[number] = (shown, None, None)
        return sources

    def _refusal(self, number: int) -> NotFound:
        return NotFound(
            f"row {number}: the key in {', '.join(self.keys)} has no features in {self.shown}",
            hint="ask for keys that are published, or send the features",
            table=self.shown,
            columns=self.keys,
        )


def _by_run(
    features: Sequence[PlannedFeature], reader: RowReader
) -> tuple[tuple[tuple[PlannedFeature, ...], Run], ...]:
    """Features in the order of their places, with the columns that are read at once."""
    left = iter(features)
    return tuple((tuple(islice(left, run.count)), run) for run in reader.runs([each.place for each in features]))


def _inputs(feature: PlannedFeature, run: Run, seen: SeenRows) -> list[ModelValue]:
    """A feature that is no number as it is stored, as the model sees it."""
    missing = feature.missing
    values = [missing if value is None else model_value(value) for value in seen.values(run)[0]]
    for number in seen.absent:
        values[number] = feature.absent
    return values


def _stored(feature: PlannedFeature, values: list[object], seen: SeenRows) -> list[object]:
    """A feature in its own type, with what stands for nulls and for keys without a row."""
    if feature.default is not None:
        values = [feature.default if value is None else value for value in values]
    for number in seen.absent:
        values[number] = feature.absent_default
    return values


def _features(
    lookup: FeatureLookup,
    table: OnlineTable,
    positions: Mapping[str, int],
    kept: frozenset[str],
    missing_keys: MissingKeys,
) -> list[PlannedFeature]:
    places = {name: place for place, name in enumerate(feature_types(table))}
    made = []
    for name in places if lookup.feature_names is None else lookup.feature_names:
        output = lookup.rename_outputs.get(name, name)
        if output not in positions and output not in kept:
            continue
        if name not in places:
            raise InvalidState(
                f"the online table {table.name} has no feature '{name}'",
                hint=f"publish the table again; {did_you_mean(name, places)}",
                table=str(table.name),
                feature=name,
            )
        kind = table.types[name]
        default = _default(kind, lookup.default_values.get(output), output)
        absent = None if missing_keys == "null" else default
        made.append(
            PlannedFeature(
                place=places[name],
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
