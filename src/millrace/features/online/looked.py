"""What is known of the rows of requests while they are answered, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

import numpy as np

from millrace.core.clock import epoch_us
from millrace.features.online.records import Asked, ModelValue, Record

Source: TypeAlias = tuple[str, int | None, int | None]
Sources: TypeAlias = tuple[Source, ...]


class Looked:
    """The rows of requests that are answered together, what was found for them, and where.

    Attributes:
        records: the rows as they were sent, of one request after the other.
        times: when each is asked, in microseconds.
        numbers: n x inputs float64, the numeric model inputs, NaN for what is missing or not in here.
        carrying: the numbers of the rows that carry what could be looked up.
        others: position to n values, in place of the column in `numbers`: texts, and what has nulls of the request's own.

    Args:
        asked: requests with n rows together; one at least.
        width: how many inputs the model has.
    """

    __slots__ = ("_asked", "_kept", "_sources", "carrying", "numbers", "others", "records", "times")

    def __init__(self, asked: Sequence[Asked], width: int) -> None:
        self._asked = asked
        self.records: Sequence[Record] = asked[0].records
        self.times = [epoch_us(asked[0].now)] * len(self.records)
        if len(asked) > 1:
            self.records = [record for each in asked for record in each.records]
            self.times = [us for each in asked for us in [epoch_us(each.now)] * len(each.records)]
        self.numbers = np.empty((len(self.records), width))
        self.numbers.fill(np.nan)
        self.carrying: Sequence[int] = ()
        self.others: dict[int, list[ModelValue]] = {}
        self._kept: list[tuple[str, Sequence[int], list[object]]] = []
        self._sources: list[tuple[Sequence[int], list[Source]]] = []

    def moments(self) -> list[datetime]:
        """When each row is asked."""
        return [each.now for each in self._asked for _ in each.records]

    def column(self, position: int) -> list[ModelValue]:
        """A column of the model's inputs, to be written to: one of `others` from now on."""
        known = self.others.get(position)
        if known is None:
            known = self.others[position] = self.numbers[:, position].tolist()
        return known

    def keep(self, output: str, rows: Sequence[int], values: list[object]) -> None:
        """Remember values as they are stored, of the rows with these numbers."""
        self._kept.append((output, rows, values))

    def came_from(self, rows: Sequence[int], sources: list[Source]) -> None:
        """Remember a lookup's sources, of the rows with these numbers."""
        self._sources.append((rows, sources))

    def found(self) -> list[dict[str, object]]:
        """For each row what was looked up and kept, by output; what the row itself carries is not in it."""
        found: list[dict[str, object]] = [{} for _ in self.records]
        for output, rows, values in self._kept:
            for number, value in zip(rows, values, strict=True):
                if output not in self.records[number]:
                    found[number][output] = value
        return found

    def kept(self) -> dict[str, list[object]]:
        """Each output that was kept, with what the rows carry themselves in its place."""
        columns: dict[str, list[object]] = {}
        for output, rows, values in self._kept:
            if not self.carrying and len(rows) == len(self.records):
                columns[output] = values
                continue
            if output not in columns:
                columns[output] = [record.get(output) for record in self.records]
            column = columns[output]
            for number, value in zip(rows, values, strict=True):
                if output not in self.records[number]:
                    column[number] = value
        return columns

    def sources(self) -> list[Sources]:
        """For each row where its features came from, in the order of the lookups."""
        if not self._sources:
            return [()] * len(self.records)
        if not self.carrying:
            return list(zip(*[sources for _, sources in self._sources], strict=True))
        spread: list[list[Source]] = [[] for _ in self.records]
        for rows, sources in self._sources:
            for number, source in zip(rows, sources, strict=True):
                spread[number].append(source)
        return [tuple(each) for each in spread]
