"""Feature functions inside a request: the same call as offline, on the columns that the request needs."""

from __future__ import annotations

from datetime import datetime

from millrace.core.clock import utc
from millrace.features.functions.compiled import CompiledFunction, columns_read
from millrace.features.online.records import Record, present
from millrace.features.types import FeatureSpec


class OnlineFunctions:
    """The functions of a spec, compiled. Thread-safe as far as they are.

    Attributes:
        columns: what they read besides each other's outputs; those that lookups make have to be kept for them.
        times: of these the columns that stand for the time of the question, and whether as a date.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self._compiled = {each.output: CompiledFunction.of(each) for each in spec.functions}
        self.columns = tuple(columns_read(spec.functions))
        times = {lookup.timestamp_lookup_key for lookup in spec.lookups}
        self.times = {
            column: each.types[name].startswith("date")
            for each in spec.functions
            for name, column in each.bindings.items()
            if column in times
        }

    def value(self, column: str, record: Record, found: dict[str, object], now: datetime, row: int) -> object:
        """A column's value: looked up, sent, computed, or `now` where it is the time of the question.

        Args:
            column: the column.
            record: the request row; what it carries wins.
            found: the features that were looked up for it, as they are stored; results are added.
            now: the time of the question.
            row: for messages.

        Raises:
            InvalidInput: the record lacks the column, or a function failed.
        """
        if column in found:
            return found[column]
        if column in self.times:
            return utc(now).date() if self.times[column] else utc(now)
        compiled = self._compiled.get(column)
        if compiled is None or column in record:
            return present(record, column)
        given = [self.value(each, record, found, now, row) for each in compiled.columns]
        found[column] = compiled.call(given, row)
        return found[column]
