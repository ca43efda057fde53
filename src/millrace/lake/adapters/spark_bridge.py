"""Delta tables for a Spark without Delta's jar: the log says which files make a version, Spark reads those.

Only the log knows a version: its files, its schema, the values of its partition columns (which are in the paths, not in the
files) and how many rows each file has. Spark is asked for the files by name, and what it finds is counted against the
log before anything else is done with it, so that a path that was spelled in another way can't become a silent zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from millrace.core.errors import InvalidState, LawBroken
from millrace.lake.adapters.spark_client import read_delta
from millrace.lake.port import TableStore
from millrace.lake.types import Location, Version

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_PATH = "__millrace_path"
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
# Spark takes paths for patterns; a backslash takes a sign as it is.
_PATTERN_SIGNS = frozenset("{}[]*?\\")
_MOST_REMEMBERED = 512


@dataclass
class _Known:
    """What a session was found to have: Delta's jar, and by table version, the spelling of each file's path."""

    delta: bool
    paths: dict[tuple[Location, Version], Sequence[str]] = field(default_factory=dict)


_KNOWN: WeakKeyDictionary[SparkSession, _Known] = WeakKeyDictionary()


def read_version(session: SparkSession, store: TableStore, location: Location, version: Version) -> DataFrame:
    """A lazy frame over one version of a Delta table, by Delta's own reader where the cluster has it.

    Without it, the first reading of a version counts its rows, file by file (Spark reads the files' footers for that). The
    cluster has to see the files under the same paths as this process.

    Raises:
        NotFound: no table there, or no such version.
        InvalidState: its files alone don't say its rows (deletion vectors, column mapping), or Spark can't read them.
        LawBroken: Spark finds another number of rows in the files than the log has.
    """
    known = _known(session)
    if known.delta:
        return read_delta(session, location, version)
    files, schema = store.files(location, version), store.schema(location, version)
    if not files:
        return session.createDataFrame([], _spark_schema(schema))
    partitions = _partitions(files[0], location, schema)
    frame = _parquet(session, files, [column for column in schema if column.name not in partitions])
    paths = known.paths.get((location, version))
    if paths is None:
        paths = _counted(frame, location, version, store.rows(location, version))
        if len(known.paths) >= _MOST_REMEMBERED:
            known.paths.clear()
        known.paths[location, version] = paths
    return _with_partitions(session, frame, paths, partitions, schema) if partitions else frame


def has_delta(session: SparkSession) -> bool:
    """Whether the cluster has Delta's jar; asked once per session."""
    return _known(session).delta


def _known(session: SparkSession) -> _Known:
    known = _KNOWN.get(session)
    if known is None:
        known = _KNOWN[session] = _Known(_finds_delta(session))
    return known


def _finds_delta(session: SparkSession) -> bool:
    from pyspark.errors import PySparkException

    try:
        _ = session.read.format("delta").load("/millrace-asks-whether-there-is-delta").schema
    except PySparkException as error:
        # With the jar, it is the table that is not found.
        return bool(error.getCondition() != "DATA_SOURCE_NOT_FOUND")
    return True


def _parquet(session: SparkSession, files: Sequence[str], columns: Sequence[pa.Field]) -> DataFrame:
    # Without the schema Spark would take that of any one file; older files lack newer columns, which are null then.
    # Without recursiveFileLookup it would take folder names for columns, with types of its own guess.
    import pyarrow as pa
    from pyspark.errors import PySparkException

    reader = session.read.schema(_spark_schema(pa.schema(columns))).option("recursiveFileLookup", "true")
    frame: DataFrame = reader.parquet(*[_literal(path) for path in files])
    try:
        _ = frame.schema  # Spark looks for the files now
    except PySparkException as error:
        raise _unreadable(files[0], error) from error
    return frame


def _counted(frame: DataFrame, location: Location, version: Version, rows: int) -> Sequence[str]:
    """The files' paths as Spark spells them, after their rows were counted."""
    from pyspark.errors import PySparkException

    try:
        found = frame.groupBy("_metadata.file_path").count().collect()
    except PySparkException as error:
        raise _unreadable(location, error) from error
    counted = sum(int(row["count"]) for row in found)
    if counted != rows:
        raise LawBroken(
            f"Spark finds {counted} rows in the files of {location}, and its log has {rows} for version {version}",
            hint="does the cluster see the same files under the same paths?",
            location=location,
        )
    return [str(row["file_path"]) for row in found]


def _unreadable(place: str, error: Exception) -> InvalidState:
    return InvalidState(
        f"Spark can't read {place}: {str(error).splitlines()[0]}",
        hint="the cluster has to see the warehouse under the same paths as this process; after a vacuum, old versions are gone",
        location=place,
    )


def _with_partitions(
    session: SparkSession, frame: DataFrame, paths: Sequence[str], partitions: Sequence[str], schema: pa.Schema
) -> DataFrame:
    """The partition columns beside the rows, found by the path of each row's file as Spark itself spells it."""
    import pyarrow as pa
    from pyspark.sql import functions as sf

    texts = {f"p{number}": [_value(path, name) for path in paths] for number, name in enumerate(partitions)}
    # A path's values as text: Spark's own cast gives them their type.
    folders = pa.table({_PATH: pa.array(paths, pa.string())} | {n: pa.array(v, pa.string()) for n, v in texts.items()})
    types = {column.name: column.dataType for column in _spark_schema(schema)}
    valued = session.createDataFrame(folders).select(
        _PATH,
        *[_cast(f"p{n}", types[name]).alias(name) for n, name in enumerate(partitions)],
    )
    beside = frame.withColumn(_PATH, sf.col("_metadata.file_path")).join(sf.broadcast(valued), _PATH)
    return beside.select(*[sf.col(f"`{name.replace('`', '``')}`") for name in schema.names])


def _cast(column: str, kind: Any) -> Any:
    """Text as a value. Times are UTC: without a zone in the text, Spark would take them for times of the session's own."""
    from pyspark.sql import functions as sf

    text = sf.col(column)
    if kind.typeName() == "timestamp":
        text = sf.when(text.endswith("Z"), text).otherwise(sf.concat(text, sf.lit("Z")))
    return text.cast(kind)


def _partitions(path: str, location: Location, schema: pa.Schema) -> list[str]:
    """Columns whose values are in the folder names below the table's own (`region=EU/`)."""
    folders = path[len(location) :].split("/")[:-1] if path.startswith(location) else path.split("/")[:-1]
    named = {unquote(folder.partition("=")[0]) for folder in folders if "=" in folder}
    return [name for name in schema.names if name in named]


def _value(path: str, column: str) -> str | None:
    """A partition column's value by a file's path: encoded once as a URL, and once more in the folder's name."""
    for folder in reversed(unquote(path).split("/")[:-1]):
        name, _, value = folder.partition("=")
        if unquote(name) == column:
            return None if value == _NULL_PARTITION else unquote(value)
    raise LawBroken(f"'{column}' is not in the path {path}", hint="this is a bug: please report it")


def _literal(path: str) -> str:
    return "".join(f"\\{sign}" if sign in _PATTERN_SIGNS else sign for sign in path)


def _spark_schema(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import StructField, StructType

    # Times without a zone stay without one. Spark takes no file's word for it that a column has no nulls.
    fields = from_arrow_schema(schema, prefer_timestamp_ntz=True).fields
    return StructType([StructField(column.name, column.dataType, nullable=True) for column in fields])
