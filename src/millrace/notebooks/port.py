"""Who is told how far a notebook is."""

from __future__ import annotations

from typing import Protocol


class CellProgress(Protocol):
    """Told of each cell of code, in a thread of the run's own. What it raises ends the run.

    `number` counts all cells from 1, `total` is how many there are, `title` is empty where the cell has none.
    """

    def begins(self, number: int, total: int, title: str) -> None: ...

    def ends(self, number: int, total: int, title: str, seconds: float, *, failed: bool) -> None: ...
