"""CSV with a header line. Its cells are text; the model's signature says what they stand for."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.body import PLAIN, Body, Envelope
from millrace.serving.bodies.rows import Rows, ValueKind, check_lengths

# In columns of numbers; what is written for a missing one by pandas, R, SQL and Python.
_MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def read_csv(raw: bytes, envelope: Envelope = PLAIN) -> Body:
    """Read CSV as RFC 4180 has it: UTF-8, a header line, lines of as many cells; blank lines are skipped.

    Raises:
        InvalidInput: no UTF-8, no header, no rows, broken quotes, or a line with more or fewer cells.
    """
    try:
        text = raw.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except UnicodeDecodeError:
        raise InvalidInput("the CSV is not UTF-8 text", hint="encode it in UTF-8") from None
    except csv.Error:
        raise InvalidInput(
            "the CSV can't be read", hint='put text with commas or quotes in quotes: "a ""b"", c"'
        ) from None
    if not lines:
        raise InvalidInput("the CSV is empty", hint="send a header line with the columns, and a line for each row")
    names, rows = lines[0], lines[1:]
    if len(set(names)) < len(names):
        raise InvalidInput("the CSV names a column twice", hint="name each column once")
    if not rows:
        raise InvalidInput("the CSV has no rows", hint="send at least one line after the header")
    check_lengths(rows, len(names))
    return Body(Cells(names, rows), envelope.client_request_id, envelope.predict_proba)


@dataclass(frozen=True, slots=True)
class Cells:
    """Rows of text cells.

    What a cell stands for is said by its column's kind: an empty one is missing, in columns of numbers also `NA`,
    `NaN`, `null` and the like. A cell that does not say what its kind wants stays text, which readers then refuse.
    Columns without a known kind are read as what they look like.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    kinds: Mapping[str, ValueKind] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)

    def typed(self, kinds: Mapping[str, ValueKind]) -> Rows:
        """See `Rows.typed`."""
        return replace(self, kinds=kinds)

    def records(self, columns: Sequence[str] | None) -> Sequence[Mapping[str, object]]:  # noqa: ARG002 - they have names
        """See `Rows.records`."""
        return [self._record(row) for row in self.rows]

    def first(self) -> Mapping[str, object] | None:
        """See `Rows.first`."""
        return self._record(self.rows[0])

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """See `Rows.matrix`."""
        places = {name: place for place, name in enumerate(self.names)}
        if any(name not in places or self.kinds.get(name) == "text" for name in columns):
            return None
        rows: Sequence[Sequence[str]] = self.rows
        if list(columns) != self.names:
            asked = [places[name] for name in columns]
            rows = [[row[place] for place in asked] for row in rows]
        for read in (_float, _float_or_missing):
            try:
                return np.array([list(map(read, row)) for row in rows], dtype=np.float64)
            except ValueError:
                pass
        return None

    def _record(self, row: Sequence[str]) -> Mapping[str, object]:
        kinds = self.kinds
        return {name: _READ[kinds.get(name)](cell) for name, cell in zip(self.names, row, strict=True)}


def _float(cell: str) -> float:
    """The number. Raises ValueError."""
    if "_" in cell:
        raise ValueError("Python's own way to group digits")
    return float(cell)


def _float_or_missing(cell: str) -> float:
    return math.nan if cell in _MISSING else _float(cell)


def _number(cell: str) -> object:
    if cell in _MISSING:
        return None
    try:
        return _float(cell)
    except ValueError:
        return _BOOLEANS.get(cell, cell)


def _whole(cell: str) -> object:
    """Exact, for keys have more digits than a float."""
    try:
        return int(cell) if "_" not in cell else cell
    except ValueError:
        return _number(cell)


def _boolean(cell: str) -> object:
    return _BOOLEANS[cell] if cell in _BOOLEANS else _number(cell)


def _text(cell: str) -> object:
    return cell or None


_READ: dict[ValueKind | None, Callable[[str], object]] = {
    "number": _number,
    "whole": _whole,
    "boolean": _boolean,
    "text": _text,
    None: _whole,
}
