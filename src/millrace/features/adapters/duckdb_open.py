"""A DuckDB of its own for each read of a table's files, and what to say where they can't be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb  # noqa: TID253 - this is its adapter

from millrace.core.interruption import interruptions
from millrace.features.adapters.arrow_parts import unreadable
from millrace.features.adapters.duckdb_spill import spill_folder
from millrace.features.types import FeatureSource


@contextmanager
def opened(threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in memory and in UTC, of at most `threads` threads, which spills to a folder that goes with it."""
    config = {"threads": threads, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with interruptions(), spill_folder() as folder, duckdb.connect(":memory:", config=config) as connection:
        connection.execute(f"SET temp_directory = {text(folder)}")
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@contextmanager
def reading(source: FeatureSource) -> Iterator[None]:
    """Raise InvalidState where files of the source are gone or damaged."""
    try:
        yield
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise unreadable(source) from error


def text(value: str) -> str:
    """A text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"
