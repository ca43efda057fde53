"""The rows of a request, in the shape in which the caller sent them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, Protocol, Self, TypeAlias

import numpy as np

from millrace.core.errors import InvalidInput

# What the values of a column are to the one who reads them.
ValueKind: TypeAlias = Literal["number", "whole", "boolean", "text"]
# Booleans among numbers become numbers here as they do one by one.
_NUMBERS = frozenset({float, int, bool, type(None)})


class Rows(Protocol):
    """Rows as they were sent. At least one."""

    def __len__(self) -> int:
        """How many."""
        ...

    def typed(self, kinds: Mapping[str, ValueKind]) -> Rows:
        """The same rows; text that stands for values of these kinds is read as such. Costs nothing.

        For formats whose cells are all text; values of the others have types of their own, which are kept.
        """
        ...

    def records(self, columns: Sequence[str] | None) -> Sequence[Mapping[str, object]]:
        """Each row by column; `columns` names those that came without, None where their order means nothing.

        Raises:
            InvalidInput: rows without names where they are needed, or of a wrong length.
        """
        ...

    def first(self) -> Mapping[str, object] | None:
        """The first row by column; None for rows without names."""
        ...

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """These columns as n x k float64, null as NaN; None where one is missing or has a value that is no number.

        The quick way for what is right: what is wrong with rows that have none is said by who reads their records.
        """
        ...


# Not frozen, here and below: one of them is made for each request, and freezing triples what that takes.
@dataclass(slots=True)
class Records:
    """Rows as mappings."""

    rows: Sequence[Mapping[str, object]]

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)

    def typed(self, kinds: Mapping[str, ValueKind]) -> Self:  # noqa: ARG002 - values have types
        """See `Rows.typed`."""
        return self

    def records(self, columns: Sequence[str] | None) -> Sequence[Mapping[str, object]]:  # noqa: ARG002 - they have names
        """See `Rows.records`."""
        return self.rows

    def first(self) -> Mapping[str, object] | None:
        """See `Rows.first`."""
        return self.rows[0]

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """See `Rows.matrix`."""
        try:
            return numeric([[row[name] for name in columns] for row in self.rows])
        except KeyError:
            return None


@dataclass(slots=True)
class Lists:
    """Rows as lists, all of one length; `names` names their columns, None where the caller sent no names."""

    names: Sequence[str] | None
    rows: Sequence[Sequence[object]] | np.ndarray

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)

    def typed(self, kinds: Mapping[str, ValueKind]) -> Self:  # noqa: ARG002 - values have types
        """See `Rows.typed`."""
        return self

    def records(self, columns: Sequence[str] | None) -> Sequence[Mapping[str, object]]:
        """See `Rows.records`."""
        names = self.names or columns
        if names is None:
            raise InvalidInput(
                "the rows have no column names, and features are looked up by name",
                hint="send dataframe_records or dataframe_split",
            )
        check_lengths(self.rows, len(names))
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def first(self) -> Mapping[str, object] | None:
        """See `Rows.first`."""
        return None if self.names is None else dict(zip(self.names, self.rows[0], strict=True))

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """See `Rows.matrix`."""
        made = numeric(self.rows)
        if made is None or self.names is None:
            return made if made is not None and made.shape[1] == len(columns) else None
        if tuple(self.names) == tuple(columns):
            return made
        places = {name: place for place, name in enumerate(self.names)}
        if any(name not in places for name in columns):
            return None
        return made[:, [places[name] for name in columns]]


@dataclass(slots=True)
class Columns:
    """Rows column by column: lists or numpy arrays, all of one length."""

    values: Mapping[str, Sequence[object] | np.ndarray]

    def __len__(self) -> int:
        """How many."""
        return len(next(iter(self.values.values())))

    def typed(self, kinds: Mapping[str, ValueKind]) -> Self:  # noqa: ARG002 - values have types
        """See `Rows.typed`."""
        return self

    def records(self, columns: Sequence[str] | None) -> Sequence[Mapping[str, object]]:  # noqa: ARG002 - they have names
        """See `Rows.records`."""
        lists = [column.tolist() if isinstance(column, np.ndarray) else column for column in self.values.values()]
        return [dict(zip(self.values, row, strict=True)) for row in zip(*lists, strict=True)]

    def first(self) -> Mapping[str, object] | None:
        """See `Rows.first`."""
        return {
            name: column[0].item() if isinstance(column, np.ndarray) else column[0]
            for name, column in self.values.items()
        }

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """See `Rows.matrix`."""
        if any(name not in self.values for name in columns):
            return None
        asked = [self.values[name] for name in columns]
        arrays = [column for column in asked if isinstance(column, np.ndarray)]
        lists = [column for column in asked if not isinstance(column, np.ndarray)]
        if arrays and lists:
            return None
        made = numeric(lists or np.array(arrays))
        return None if made is None else np.ascontiguousarray(made.T)


def numeric(rows: Sequence[Sequence[object]] | np.ndarray) -> np.ndarray | None:
    """Values as a float64 matrix, None as NaN; None where one is no plain number or the lengths differ."""
    quick = None if isinstance(rows, np.ndarray) else _doubles(rows)
    if quick is not None:
        return quick
    # Before numpy looks: of texts it makes a matrix in which each value is as wide as the longest.
    if isinstance(rows, np.ndarray):
        plain = rows.dtype.kind in "fiub"
    else:
        plain = _NUMBERS.issuperset(map(type, chain.from_iterable(rows)))
    if not plain:
        return None
    try:
        made = np.array(rows, dtype=np.float64)
    except (ValueError, OverflowError):
        return None
    return made if made.ndim == 2 else None  # noqa: PLR2004 - a matrix


def _doubles(rows: Sequence[Sequence[object]]) -> np.ndarray | None:
    """The same for lists of numbers and nothing else, in half the time: each value is looked at once. None for others."""
    values = array("d")
    try:
        for row in rows:
            values.fromlist(row)  # type: ignore[arg-type]  # it refuses what is no list, and in it what is no number
    except (TypeError, ValueError, OverflowError):
        return None
    width = len(rows[0]) if rows else 0
    # Rows of different lengths may well make up a matrix together.
    return np.frombuffer(values).reshape(-1, width) if width and {width}.issuperset(map(len, rows)) else None


def check_lengths(rows: Sequence[Sequence[object]] | np.ndarray, length: int) -> None:
    """Raise InvalidInput with the number of the first row that is shorter or longer."""
    if {length}.issuperset(map(len, rows)):
        return
    for number, row in enumerate(rows):
        if len(row) != length:
            raise InvalidInput(f"row {number} has {len(row)} values for {length} columns", hint="one value a column")
