"""SQL of the user's own over rows in memory, by DuckDB: it sees the rows, and no file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from millrace.core.interruption import interruptions

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


@contextmanager
def open_sql() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads what is registered with it and nothing else, and keeps the order of rows."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1, "enable_external_access": False})
    try:
        with interruptions():
            yield connection
    finally:
        connection.close()


def without_zones(rows: pa.Table) -> pa.Table:
    """Times as plain UTC ones: DuckDB's functions of zoned times need an extension that has to be downloaded."""
    import pyarrow as pa

    kinds = [pa.timestamp(f.type.unit) if pa.types.is_timestamp(f.type) else f.type for f in rows.schema]
    return rows.cast(pa.schema([field.with_type(kind) for field, kind in zip(rows.schema, kinds, strict=True)]))


def mentioned(sql: str, names: Sequence[str]) -> Sequence[str]:
    """Those names of columns that occur in the SQL, whatever their case: all that it can read, and perhaps more."""
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    return [name for name in names if name.lower() in words or not re.fullmatch(r"\w+", name)]


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def refusal(error: Exception) -> str:
    """DuckDB's first line, without the name of the kind of error."""
    return str(error).splitlines()[0].split("Error: ", 1)[-1]
