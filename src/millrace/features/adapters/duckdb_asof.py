"""The as-of join on DuckDB: ASOF over the pinned Parquet files themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import unquote

import duckdb  # noqa: TID253 - this is its adapter
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidState, LawBroken
from millrace.features.adapters.duckdb_open import opened, reading, text
from millrace.features.identity import DAY_US, MICROSECOND, key_column, key_family, question_us, same_decimals
from millrace.features.types import FeatureSource, ResolvedLookup

_ORDER = "__order"
_ASKED = "__asked_us"
_SEEN = "__seen_us"


@dataclass(frozen=True, slots=True)
class DuckDbAsOfJoin:
    """AsOfJoin over `read_parquet`; one in-memory connection per call, at most `threads` threads.

    Times are compared as int64 microseconds, so that no time zone takes part.
    """

    threads: int

    def lookup(self, requests: pa.Table, lookup: ResolvedLookup, as_of: datetime) -> pa.Table:
        """See `AsOfJoin.lookup`.

        Raises:
            InvalidState: the files of the table could not be read.
            LawBroken: DuckDB gave other rows than were asked for, as where the keys of the table are not unique.
        """
        asked = _asked(requests, lookup, epoch_us(as_of))
        found = self._run(asked, lookup, epoch_us(as_of))
        _check_rows(found, len(requests), lookup)
        return _typed(found, lookup)

    def _run(self, asked: pa.Table, lookup: ResolvedLookup, as_of_us: int) -> pa.Table:
        with opened(self.threads) as connection:
            # With few rows DuckDB would plan a nested loop; over Arrow frames it believes that rows are few.
            connection.execute("SET asof_loop_join_threshold = 0")
            connection.register("asked", asked)
            connection.register("nothing", lookup.source.schema.empty_table())
            types = _sql_types(connection)
            with reading(lookup.source):
                found: pa.Table = connection.sql(_query(lookup, as_of_us, types)).to_arrow_table()
                if lookup.source.timeseries_column is not None:
                    connection.register("answers", found.select([_ORDER, _SEEN]))
                    _check_once(connection.sql(_twice(lookup, types)).fetchall(), lookup)
        return found


def _asked(requests: pa.Table, lookup: ResolvedLookup, as_of_us: int) -> pa.Table:
    """Ordinal, keys and the time of the question: all that the join needs of the requests."""
    source = lookup.source
    columns = {_ORDER: pa.array(range(len(requests)), pa.int64())}
    for number, (name, key) in enumerate(zip(lookup.keys, source.primary_keys, strict=True)):
        columns[f"k{number}"] = _comparable(requests.column(name), source.schema.field(key).type, name)
    if lookup.timestamp_key is None:
        columns[_ASKED] = pa.repeat(pa.scalar(as_of_us, pa.int64()), len(requests))
    else:
        columns[_ASKED] = question_us(requests.column(lookup.timestamp_key), lookup.timestamp_key)
    return pa.table(columns)


def _comparable(column: pa.ChunkedArray, stored: pa.DataType, name: str) -> pa.ChunkedArray:
    """A request's keys in a form that DuckDB has and that `_key` gives the stored ones."""
    column, family = key_column(column, stored, name), key_family(stored)
    if family == "decimal":
        return column if column.type == stored else same_decimals(column, stored)
    if family == "binary":
        texts = [None if value is None else value.hex().upper() for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return column


def _query(lookup: ResolvedLookup, as_of_us: int, types: Mapping[str, str]) -> str:
    source = lookup.source
    keys = [f"k{number}" for number in range(len(source.primary_keys))]
    wanted = [f"f{number}" for number in range(len(lookup.columns))]
    same = " AND ".join(f"asked.{key} = found.{key}" for key in keys)
    chosen = ", ".join(_chosen(column, lookup) for column in wanted)
    if source.timeseries_column is None:
        return (
            f"SELECT asked.{_ORDER}, {chosen} FROM asked LEFT JOIN ({_features(lookup, types)}) found ON {same} "
            f"ORDER BY asked.{_ORDER}"
        )
    return (
        f"SELECT asked.{_ORDER}, found.seen_us AS {_SEEN}, {chosen} FROM asked ASOF LEFT JOIN "
        f"(SELECT * FROM ({_features(lookup, types)}) WHERE seen_us <= {as_of_us}) found "
        f"ON {same} AND asked.{_ASKED} >= found.seen_us ORDER BY asked.{_ORDER}"
    )


def _twice(lookup: ResolvedLookup, types: Mapping[str, str]) -> str:
    """A row where an answer's key and time are in the table more than once: ASOF picks one of them and says nothing."""
    keys = [f"k{number}" for number in range(len(lookup.source.primary_keys))]
    identity = ", ".join([*(f"asked.{key}" for key in keys), f"answers.{_SEEN}"])
    grouped = ", ".join([*(f"used.{key}" for key in keys), f"used.{_SEEN}"])
    same = " AND ".join([*(f"used.{key} = found.{key}" for key in keys), f"used.{_SEEN} = found.seen_us"])
    return (
        f"SELECT 1 FROM (SELECT DISTINCT {identity} FROM asked JOIN answers USING ({_ORDER}) WHERE {_SEEN} IS NOT NULL) "
        f"used JOIN ({_features(replace(lookup, columns={}), types)}) found ON {same} GROUP BY {grouped} HAVING count(*) > 1 LIMIT 1"
    )


def _chosen(column: str, lookup: ResolvedLookup) -> str:
    # All rows of a key older than the newest are older still: the window may be checked after the newest was found.
    if lookup.lookback is None:
        return f"found.{column}"
    window = lookup.lookback // MICROSECOND
    return f"CASE WHEN asked.{_ASKED} - found.seen_us <= {window} THEN found.{column} END AS {column}"


def _features(lookup: ResolvedLookup, types: Mapping[str, str]) -> str:
    source = lookup.source
    keys = [f"{_key(source, name)} AS k{number}" for number, name in enumerate(source.primary_keys)]
    features = [f"{_quoted(name)} AS f{number}" for number, name in enumerate(lookup.columns)]
    present = [f"{_quoted(name)} IS NOT NULL" for name in source.primary_keys]
    time = source.timeseries_column
    seen = []
    if time is not None:
        seen = [f"{_seen_us(source, time)} AS seen_us"]
        present.append(f"{_quoted(time)} IS NOT NULL")
    return f"SELECT {', '.join(keys + seen + features)} FROM ({_rows(source, types)}) WHERE {' AND '.join(present)}"


def _key(source: FeatureSource, name: str) -> str:
    """The stored key in the form that `_comparable` gives a request's."""
    family = key_family(source.schema.field(name).type)
    if family == "binary":  # as text: with several keys DuckDB's ASOF misses bytes that hold a zero
        return f"hex({_quoted(name)})"
    return f"epoch_us({_quoted(name)})" if family == "timestamp" else _quoted(name)


def _seen_us(source: FeatureSource, time: str) -> str:
    after = source.available_after // MICROSECOND
    if pa.types.is_date(source.schema.field(time).type):
        after += DAY_US if source.date_stands_for == "end" else 0
        return f"epoch_us(CAST({_quoted(time)} AS TIMESTAMP)) + {after}"
    return f"epoch_us({_quoted(time)}) + {after}"


def _rows(source: FeatureSource, types: Mapping[str, str]) -> str:
    """The table's rows; the empty frame brings columns that no file has, and the case of no files at all."""
    if not source.files:
        return "SELECT * FROM nothing"
    files = ", ".join(text(_no_glob(path)) for path in source.files)
    options = "union_by_name = true"
    partitions, columns = _partitions(source), "*"
    if partitions:
        texts = ", ".join(f"{_quoted(folder)}: VARCHAR" for folder in partitions.values())
        options += f", hive_partitioning = true, hive_types = {{{texts}}}"
        casts = [f"CAST({_quoted(folder)} AS {types[name]}) AS {_quoted(name)}" for name, folder in partitions.items()]
        columns = f"* EXCLUDE ({', '.join(map(_quoted, partitions.values()))}), {', '.join(casts)}"
    else:
        options += ", hive_partitioning = false"
    return f"SELECT * FROM nothing UNION ALL BY NAME SELECT {columns} FROM read_parquet([{files}], {options})"


def _partitions(source: FeatureSource) -> dict[str, str]:
    """Columns whose values are in the folder names (`region=EU/`) and not in the files, and what the folders call them."""
    below = source.files[0].rpartition("/")[0].removeprefix(str(source.location))
    names = {unquote(folder): folder for folder in _named(below)}
    partitions = {name: names[name] for name in source.schema.names if name in names}
    mistaken = {*_named(str(source.location))} & {*source.schema.names} if partitions else set()
    if mistaken:
        raise InvalidState(
            f"DuckDB takes a folder above {source.table} for its column '{min(mistaken)}'",
            hint="read it with MILLRACE_JOIN_ENGINE=arrow, or move the table",
            table=str(source.table),
        )
    return partitions


def _named(folders: str) -> list[str]:
    return [folder.partition("=")[0] for folder in folders.split("/") if "=" in folder]


def _sql_types(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What DuckDB calls the type of each column."""
    nothing = connection.table("nothing")
    return dict(zip(nothing.columns, (str(kind) for kind in nothing.types), strict=True))


def _check_rows(found: pa.Table, asked: int, lookup: ResolvedLookup) -> None:
    order = found.column(_ORDER)
    if len(found) != asked or not (asked == 0 or pc.all(pc.equal(order, pa.array(range(asked), pa.int64()))).as_py()):
        raise LawBroken(
            f"the lookup of {lookup.source.table} gave {len(found)} rows for {asked}",
            hint="its primary keys may not be unique; write it through millrace, which refuses duplicates",
            table=str(lookup.source.table),
        )


def _check_once(twice: Sequence[object], lookup: ResolvedLookup) -> None:
    if twice:
        raise LawBroken(
            f"the lookup of {lookup.source.table} gave 2 rows for 1",
            hint="its primary keys may not be unique; write it through millrace, which refuses duplicates",
            table=str(lookup.source.table),
        )


def _typed(found: pa.Table, lookup: ResolvedLookup) -> pa.Table:
    columns, fields = [], []
    for number, (feature, output) in enumerate(lookup.columns.items()):
        kind = lookup.source.schema.field(feature).type
        column = found.column(f"f{number}").cast(kind)
        default = lookup.defaults.get(output)
        columns.append(column if default is None else pc.fill_null(column, pa.scalar(default, kind)))
        fields.append(pa.field(output, kind))
    return pa.table(columns, schema=pa.schema(fields))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _no_glob(path: str) -> str:
    """The path with what read_parquet would take for a pattern made literal."""
    return "".join(f"[{mark}]" if mark in "*?[" else mark for mark in path)
