"""What a backtest keeps, so that it goes on where it was killed: each thing is there whole, or not at all."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.core.errors import Conflict

if TYPE_CHECKING:
    import pyarrow as pa

_HALF, _LOCK = ".part", "lock"


@dataclass(frozen=True, slots=True)
class Kept:
    """Files and folders under one root. One process writes at a time: `alone`."""

    root: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else writes meanwhile. The lock of a killed process is gone with it.

        Raises:
            Conflict: another process is at it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / _LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(
                    f"another process is running this backtest (in {self.root})", hint="wait for it to end, or stop it"
                ) from error
            yield

    def read_json(self, name: str) -> Any:
        """The value; None where it was never kept."""
        path = self.root / name
        return json.loads(path.read_text()) if path.is_file() else None

    def write_json(self, name: str, value: object) -> None:
        """Keep a value; keys are sorted, so that the same value is the same bytes."""
        self.write_text(name, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Keep a text."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(path.name + _HALF)
        half.write_text(text)
        half.replace(path)

    def folder(self, name: str, fill: Callable[[Path], None]) -> Path:
        """A folder that `fill` makes, where it is not there yet."""
        path = self.root / name
        if not path.is_dir():
            half = path.with_name(path.name + _HALF)
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            fill(half)
            half.rename(path)
        return path


def write_table(path: Path, table: pa.Table, facts: Mapping[str, str] | None = None) -> None:
    """Write a table as Parquet, with texts beside it."""
    import pyarrow.parquet as pq

    pq.write_table(table.replace_schema_metadata(dict(facts or {})), path, compression="zstd")


def read_table(path: Path) -> pa.Table:
    """Read it."""
    import pyarrow.parquet as pq

    return pq.read_table(path)
