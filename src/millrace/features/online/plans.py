"""All lookups of a model over an online store: one read a table, however many lookups it has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_

from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.names import TableName
from millrace.features.online.looked import Looked
from millrace.features.online.plan import LookupPlan, rules_of
from millrace.features.online.records import Record
from millrace.features.port import OnlineStore, PackedRows
from millrace.features.types import FeatureSpec, MissingKeys, OnlineTable


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The plans in the order of the lookups, and the tables that they were made for.

    A record without any of the `telling` columns needs all lookups.
    """

    plans: tuple[LookupPlan, ...]
    tables: tuple[OnlineTable, ...]
    telling: frozenset[str]


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
        self._online, self._lookups = online, spec.lookups
        self._names = tuple(TableName.parse(lookup.table_name) for lookup in spec.lookups)
        # Each table once, with the numbers of its lookups.
        self._tables = tuple(
            (name, tuple(number for number, each in enumerate(self._names) if each == name))
            for name in dict.fromkeys(self._names)
        )
        self._positions, self._kept, self._missing_keys = positions, frozenset(kept), missing_keys
        self._whole = frozenset(spec.inputs)
        self._compiled: _Compiled | None = None
        self.key_columns = tuple(dict.fromkeys(column for lookup in spec.lookups for column in lookup.keys))

    def check(self) -> None:
        """Raises InvalidState where a table is not published, or lacks a feature."""
        self._current()

    def look_up(self, looked: Looked) -> None:
        """Find the features of each row, as the model's inputs and, of those that are kept, as they are stored.

        A record that carries all features of a lookup need not have its key, and one that carries all inputs needs none.
        """
        for plan, rows, found in self._stored(looked):
            if rows:
                plan.fill(looked, rows, found)
            if looked.carrying:
                plan.override(looked)

    def key_values(self, records: Sequence[Record]) -> list[tuple[object, ...]]:
        """The lookup keys in each record as they were sent, in the order of `key_columns`; None where it has none."""
        if not self.key_columns:
            return [()] * len(records)
        return list(zip(*[[record.get(name) for record in records] for name in self.key_columns], strict=True))

    def _stored(self, looked: Looked) -> Iterable[tuple[LookupPlan, Sequence[int], PackedRows]]:
        """Each plan, the rows that need it, and what is stored for them, read by the rules that it was published by."""
        compiled = self._compiled or self._current()
        while True:
            needing = self._needing(compiled, looked)
            try:
                stored = self._read(compiled.plans, needing, looked.records)
            except InvalidInput:
                known = self._current()
                if known.plans is compiled.plans:
                    raise
            else:
                known = self._compile([found.table for found in stored])
                if known.plans is compiled.plans:
                    return zip(compiled.plans, needing, stored)  # noqa: B905 - a third of a microsecond
            compiled = known  # one was published by other rules since: its keys may be of another type

    def _needing(self, compiled: _Compiled, looked: Looked) -> list[Sequence[int]]:
        """For each plan the rows that lack a feature of it."""
        records, apart = looked.records, compiled.telling.isdisjoint
        looked.carrying = [number for number, record in enumerate(records) if not apart(record)]
        if not looked.carrying and self._whole:
            everyone = range(len(records))
            return [everyone if plan.outputs else () for plan in compiled.plans]
        open_ = [number for number, record in enumerate(records) if not record.keys() >= self._whole]
        return [[number for number in open_ if not records[number].keys() >= plan.outputs] for plan in compiled.plans]

    def _read(
        self, plans: Sequence[LookupPlan], needing: Sequence[Sequence[int]], records: Sequence[Record]
    ) -> list[PackedRows]:
        """For each plan what is stored for the rows that need it."""
        stored: dict[int, PackedRows] = {}
        for name, numbers in self._tables:
            codes: list[bytes | None] = []
            for number in numbers:
                codes += _codes(plans[number], needing[number], records)
            found, begin = self._found(name, codes), 0
            for number in numbers:
                end = begin + len(needing[number])
                stored[number] = found if end - begin == len(codes) else PackedRows(found.table, found.rows[begin:end])
                begin = end
        return [stored[number] for number in range(len(plans))]

    def _found(self, name: TableName, codes: list[bytes | None]) -> PackedRows:
        found = self._online.read(name, codes) if codes else PackedRows(self._table(name), ())
        if found is None:
            raise _not_published(name)
        return found

    def _table(self, name: TableName) -> OnlineTable:
        table = self._online.table(name)
        if table is None:
            raise _not_published(name)
        return table

    def _current(self) -> _Compiled:
        return self._compile([self._table(name) for name in self._names])

    def _compile(self, tables: Sequence[OnlineTable]) -> _Compiled:
        """The plans for these tables; those that are made already where the rules are the same."""
        known = self._compiled
        if known is not None and all(map(is_, known.tables, tables)):
            return known
        plans = tuple(self._plan(number, table, known) for number, table in enumerate(tables))
        if known is not None and all(map(is_, known.plans, plans)):
            plans = known.plans
        outputs = frozenset(output for plan in plans for output in plan.outputs)
        telling = outputs if outputs & self._whole else outputs | self._whole
        self._compiled = _Compiled(plans, tuple(tables), telling)
        return self._compiled

    def _plan(self, number: int, table: OnlineTable, known: _Compiled | None) -> LookupPlan:
        if known is not None and rules_of(known.tables[number]) == rules_of(table):
            return known.plans[number]
        return LookupPlan.of(self._lookups[number], table, self._positions, self._kept, self._missing_keys)


def _codes(plan: LookupPlan, rows: Sequence[int], records: Sequence[Record]) -> Sequence[bytes | None]:
    if not rows:
        return []
    return plan.codes.of(records if len(rows) == len(records) else [records[number] for number in rows])


def _not_published(name: TableName) -> InvalidState:
    return InvalidState(
        f"table {name} is not in the online store", hint="publish it before it is looked up", table=str(name)
    )
