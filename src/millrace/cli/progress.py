"""How far a long command is: a live display on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.pipeline.plain_lines import MARKS, PlainLines
from millrace.pipeline.port import Progress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_STYLES = {
    "done": "green",
    "skipped": "dim",
    "refused": "yellow",
    "waiting": "cyan",
    "failed": "red",
    "interrupted": "red",
    "running": "cyan",
}


@contextmanager
def progress(*, plain: bool = False) -> Iterator[Progress]:
    """Progress that is shown until the block ends."""
    if plain or not sys.stderr.isatty():
        yield PlainLines()
        return
    from rich.console import Console
    from rich.live import Live

    display = LiveDisplay(Console(stderr=True, highlight=False))
    with Live(get_renderable=display.render, console=display.console, refresh_per_second=8, transient=False):
        yield display


@dataclass(slots=True)
class _Row:
    status: str
    detail: str
    begun: float
    seconds: float | None = None
    done: int = 0
    total: int = 0


class LiveDisplay:
    """All stages as a table that is drawn anew a few times a second."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._rows: dict[str, _Row] = {}

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        """Remember what a stage is doing."""
        row = self._rows.get(name)
        if row is None or (status == "running" and row.status != "running"):
            row = self._rows[name] = _Row(status, detail, time.monotonic())
        row.status, row.detail, row.seconds = status, detail, seconds

    def advance(self, name: str, done: int, total: int) -> None:
        """Remember how far a stage is."""
        if name in self._rows:
            self._rows[name].done, self._rows[name].total = done, total

    def render(self) -> RenderableType:
        """The table as it stands now."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        # The newest rows that fit, so that a run of many stages does not scroll its end away.
        for name, row in list(self._rows.items())[-max(self.console.height - 2, 5) :]:
            style = _STYLES.get(row.status, "")
            table.add_row(
                Text(MARKS.get(row.status, row.status), style), Text(name), _seconds(row), Text(_detail(row), style)
            )
        return table


def _seconds(row: _Row) -> str:
    seconds = time.monotonic() - row.begun if row.status == "running" else row.seconds
    return "" if seconds is None else f"{seconds:.1f} s"


def _detail(row: _Row) -> str:
    if row.status == "running" and row.total:
        filled = 20 * row.done // row.total
        return f"{'#' * filled}{'.' * (20 - filled)} {row.done:,} of {row.total:,}  {row.detail}"
    return row.detail
