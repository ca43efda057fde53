"""The lake by SQL on DuckDB: one SELECT at a time, over the tables' own files, that can read nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Event, Thread

import duckdb  # noqa: TID253 - this is its adapter
import pyarrow as pa

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput, InvalidState, first_line
from millrace.core.interruption import interruptions
from millrace.core.names import DEFAULT_CATALOG, DEFAULT_SCHEMA, did_you_mean
from millrace.lake.adapters.sql_markers import with_markers
from millrace.lake.lake import Lake
from millrace.lake.types import TableEntry

_TIMEOUT_S, _AGAIN_S = 60.0, 0.1
_MISSING = re.compile(r"Table with name (\S+) does not exist")
# DuckDB's own catalog has these names.
_RESERVED = {"main", "memory", "system", "temp"}


@dataclass(frozen=True, slots=True)
class DuckDbSql:
    """A `SqlReader`; one in-memory connection for each query, at most `threads` threads, at most `timeout_s` seconds.

    Tables whose name occurs in the text are there as views over their files. Then all access to files but those is shut off, and
    the settings are locked.
    """

    lake: Lake
    threads: int
    timeout_s: float = _TIMEOUT_S

    def read(
        self, sql: str, now: datetime, limit: int = 10_000, *, parameters: Mapping[str, str] | None = None
    ) -> pa.Table:
        """See `SqlReader.read`."""
        sql = sql if parameters is None else with_markers(sql, parameters)
        config = {"threads": self.threads, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
        with interruptions(), duckdb.connect(":memory:", config=config) as connection:
            _check_is_select(connection, sql)
            _set_time(connection, now)
            entries = [entry for entry in self.lake.catalog.list() if _names(sql, entry)]
            files = [path for entry in entries for path in self._add(connection, entry)]
            _shut(connection, files)
            with _limited(connection, self.timeout_s), self._explained(entries):
                # Without parameters there is nothing to prepare: DuckDB would take an empty mapping for some.
                found = connection.sql(_short_names(sql, entries), params=dict(parameters) if parameters else None)
                return _first_rows(found.to_arrow_reader(limit), limit)

    def _add(self, connection: duckdb.DuckDBPyConnection, entry: TableEntry) -> list[str]:
        """Make a table readable under its names; its files."""
        store, name = self.lake.store, entry.name
        version = store.version(entry.location)
        schema, files = store.schema(entry.location, version), list(store.files(entry.location, version))
        connection.register("nothing", schema.empty_table())
        types = dict(zip(schema.names, (str(kind) for kind in connection.table("nothing").types), strict=True))
        connection.unregister("nothing")
        source = (
            f"(SELECT {', '.join(f'NULL::{kind} AS {_quoted(column)}' for column, kind in types.items())} WHERE false)"
        )
        if files:
            listed = ", ".join(_text(path) for path in files)
            # Old files lack new columns, and what is partitioned by is in the paths, as text.
            source += f" UNION ALL BY NAME SELECT * FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = true)"
        columns = ", ".join(f"CAST({_quoted(column)} AS {kind}) AS {_quoted(column)}" for column, kind in types.items())
        for place in _places(connection, entry):
            connection.execute(f"CREATE VIEW {place}.{_quoted(name.table)} AS SELECT {columns} FROM ({source})")
        return files

    @contextmanager
    def _explained(self, entries: list[TableEntry]) -> Iterator[None]:
        try:
            yield
        except duckdb.InterruptException as error:
            raise InvalidState(
                f"the query took longer than {self.timeout_s:g} s", hint="ask for less, or for a table made in advance"
            ) from error
        except duckdb.IOException as error:
            names = ", ".join(str(entry.name) for entry in entries)
            raise InvalidState(
                f"the files of {names} can't be read", hint="ask again: they may have been replaced"
            ) from error
        except duckdb.PermissionException as error:
            raise InvalidInput(
                "a query may read tables of the lake and nothing else", hint="import the file: millrace table import"
            ) from error
        except duckdb.Error as error:
            raise InvalidInput(f"the query can't be run: {first_line(error)}", hint=self._hint(str(error))) from error

    def _hint(self, message: str) -> str:
        missing = _MISSING.search(message)
        if missing is not None:
            return did_you_mean(missing[1], [str(entry.name) for entry in self.lake.catalog.list()])
        candidates = next((line for line in message.splitlines() if "andidate bindings" in line), "")
        return candidates.strip() or "try it at the tables' newest versions"


def _names(sql: str, entry: TableEntry) -> bool:
    """Whether a table's own name is a word of the text; one too many does no harm."""
    return re.search(rf"(?<!\w){re.escape(entry.name.table)}(?!\w)", sql, re.IGNORECASE) is not None


def _first_rows(reader: pa.RecordBatchReader, limit: int) -> pa.Table:
    batches, rows = [], 0
    for batch in reader:
        batches.append(batch)
        rows += len(batch)
        if rows >= limit:
            break
    return pa.Table.from_batches(batches, reader.schema).slice(0, limit)


def _check_is_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise InvalidInput(
            f"the query can't be read: {first_line(error)}", hint="write one SELECT, in DuckDB's SQL"
        ) from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise InvalidInput(
            "the query is not one SELECT", hint="a query here reads; it can't write, nor change settings"
        )


def _set_time(connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """The clock's time under every name that DuckDB has for it: macros of ours come before its functions."""
    connection.execute("SET TimeZone = 'UTC'")
    moment = utc(now).strftime("%Y-%m-%d %H:%M:%S.%f")
    for name in ("now", "current_timestamp", "get_current_timestamp", "transaction_timestamp"):
        connection.execute(f"CREATE MACRO {name}() AS TIMESTAMPTZ '{moment}+00'")
    for name in ("current_date", "today"):
        connection.execute(f"CREATE MACRO {name}() AS DATE '{moment[:10]}'")
    connection.execute(f"CREATE MACRO current_localtimestamp() AS TIMESTAMP '{moment}'")


def _places(connection: duckdb.DuckDBPyConnection, entry: TableEntry) -> list[str]:
    """The schemas in which a table is to be seen, made where they are missing."""
    name = entry.name
    if name.catalog != DEFAULT_CATALOG:
        if name.catalog.lower() in _RESERVED:
            raise InvalidInput(
                f"tables of the catalog {name.catalog} can't be read by SQL", hint="DuckDB has that name for itself"
            )
        connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {_quoted(name.catalog)}")
        return [_schema(connection, f"{_quoted(name.catalog)}.{_quoted(name.schema)}")]
    places = [_schema(connection, f"memory.{_quoted(name.schema)}")]
    return [*places, "memory.main"] if name.schema == DEFAULT_SCHEMA else places


def _schema(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
    return name


def _short_names(sql: str, entries: list[TableEntry]) -> str:
    """`main.schema.table` as `schema.table`: DuckDB has no catalog of that name, and can't be given one."""
    for entry in entries:
        if entry.name.catalog == DEFAULT_CATALOG:
            short = f"{entry.name.schema}.{entry.name.table}"
            sql = re.sub(rf"(?<![\w.\"]){DEFAULT_CATALOG}\.{re.escape(short)}\b", short, sql)
    return sql


def _shut(connection: duckdb.DuckDBPyConnection, files: list[str]) -> None:
    connection.execute(f"SET allowed_paths = [{', '.join(_text(path) for path in files)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET lock_configuration = true")


@contextmanager
def _limited(connection: duckdb.DuckDBPyConnection, after_s: float) -> Iterator[None]:
    over = Event()

    def stop() -> None:
        # Again and again: one that comes before the query has begun is forgotten.
        pause_s = after_s
        while not over.wait(pause_s):
            connection.interrupt()
            pause_s = _AGAIN_S

    stopping = Thread(target=stop, daemon=True)
    stopping.start()
    try:
        yield
    finally:
        over.set()
        stopping.join()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
