"""Bringing a file into the lake: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from millrace.core.errors import InvalidInput, NotFound, UsageError
from millrace.core.names import TableName, did_you_mean
from millrace.lake.lake import Lake
from millrace.lake.types import TableVersion

if TYPE_CHECKING:
    import pyarrow as pa

Mode = Literal["append", "replace"]
FileFormat = Literal["csv", "parquet", "jsonl"]

_FORMATS: Mapping[str, FileFormat] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What came in: the new version, how many rows the file had, the file's columns as stored, and whether the table is new."""

    table_version: TableVersion
    rows: int
    schema: pa.Schema
    created: bool


class _SourceFile(Protocol):
    names: list[str]
    typed: bool
    """Whether the file itself says its types; the table's are then not imposed, but checked."""

    def table(self, types: Mapping[str, pa.DataType]) -> pa.Table: ...


def import_file(
    lake: Lake,
    name: str | TableName,
    path: str | Path,
    *,
    mode: Mode = "append",
    format: FileFormat | None = None,  # noqa: A002 - the field's word for it
    types: Mapping[str, str] | None = None,
) -> ImportResult:
    """Read a CSV, Parquet or JSON lines file into a table; a missing table is made.

    Args:
        lake: where to.
        name: the table.
        path: the file; `.gz`, `.bz2`, `.zst` and `.lz4` are unpacked.
        mode: add the rows, or replace all rows (and, where the file's differ, the columns).
        format: what the file is; None goes by its name.
        types: column name to SQL type, as `{"amount": "decimal(18,2)"}`; the rest keep the table's types, or, in a new
            table, get those that all their values have.

    Raises:
        NotFound: no such file.
        InvalidInput: a broken row or a value of another type, with its line; a column that the table has and the file
            lacks, or the other way round; a table with primary keys. Nothing is written then.
    """
    from millrace.lake.sql_types import parse_type

    name, path = TableName.parse(name), Path(path)
    if mode not in ("append", "replace"):
        raise UsageError(f"'{mode}' is not an import mode", hint="choose append or replace")
    stored = _stored(lake, name)
    source = _open(path, format)
    asked = {column: parse_type(text) for column, text in (types or {}).items()}
    _refuse_unknown(asked, source.names, path)
    if stored is not None and mode == "append":
        _refuse_other_columns(name, stored.names, source.names, path)
    known = {} if stored is None else {field.name: field.type for field in stored}
    rows = _storable(source, asked if source.typed else {**known, **asked}, path)
    if stored is None:
        lake.create(name, rows.schema)
    why = f"import {path.name}"
    replaces = stored is not None and mode == "replace"
    version = lake.overwrite(name, rows, why) if replaces else lake.append(name, rows, why)
    return ImportResult(version, rows.num_rows, rows.schema, created=stored is None)


def read_file(path: str | Path, types: Mapping[str, pa.DataType], *, format: FileFormat | None = None) -> pa.Table:  # noqa: A002 - as in import_file
    """The rows of a CSV, Parquet or JSON lines file, in types that a table can hold.

    Args:
        path: the file, maybe packed.
        types: types of columns, where the file does not say them itself; of the rest, those that all their values have.
        format: what the file is; None goes by its name.

    Raises:
        NotFound: no such file.
        InvalidInput: a broken row, or a value of another type, with its line.
    """
    path = Path(path)
    source = _open(path, format)
    known = {name: kind for name, kind in types.items() if name in source.names}
    return _storable(source, {} if source.typed else known, path)


def read_bytes(data: bytes, types: Mapping[str, pa.DataType], *, format: FileFormat, name: str) -> pa.Table:  # noqa: A002 - as in import_file
    """As `read_file`, for the content of a CSV or JSON lines file, which messages call `name`."""
    if format == "parquet":
        raise UsageError("parquet is read from files", hint="give csv or jsonl")
    source = _parsed(data, format, name)
    return _storable(source, {column: kind for column, kind in types.items() if column in source.names}, Path(name))


def _stored(lake: Lake, name: TableName) -> pa.Schema | None:
    if not lake.exists(name):
        return None
    if lake.entry(name).definition.primary_keys:
        raise InvalidInput(
            f"table {name} has primary keys, and an import does not check them",
            hint="write to it with FeatureEngineeringClient.write_table",
            table=str(name),
        )
    return lake.schema(name)


def _storable(source: _SourceFile, types: Mapping[str, pa.DataType], path: Path) -> pa.Table:
    from millrace.lake.columns import storable

    rows = source.table(types)
    untyped = [] if source.typed else [name for name in source.names if name not in types]
    if not rows.num_rows and untyped:
        raise InvalidInput(
            f"{path} has no rows, so the type of column '{untyped[0]}' is not known",
            hint="give a file with rows, or the types of all columns",
        )
    return storable(rows)


def _open(path: Path, format: FileFormat | None) -> _SourceFile:  # noqa: A002 - as in import_file
    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint="is it a directory?" if path.is_dir() else "check the path")
    match format or _format(path):
        case "csv" | "jsonl" as kind:
            return _parsed(_content(path), kind, str(path))
        case "parquet":
            from millrace.lake.parquet_file import ParquetFile

            return ParquetFile(path)
        case unknown:
            raise UsageError(f"'{unknown}' is not a file format", hint="choose csv, parquet or jsonl")


def _parsed(content: bytes, format: Literal["csv", "jsonl"], name: str) -> _SourceFile:  # noqa: A002 - as in import_file
    if format == "csv":
        from millrace.lake.csv_file import CsvFile

        return CsvFile(content, name)
    from millrace.lake.json_lines_file import JsonLinesFile

    return JsonLinesFile(content, name)


def _format(path: Path) -> FileFormat:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _COMPRESSED]
    known = _FORMATS.get(suffixes[-1]) if suffixes else None
    if known is None:
        raise InvalidInput(
            f"the name of {path} does not say what it is",
            hint="files end in .csv, .parquet or .jsonl; or give the format: csv, parquet or jsonl",
        )
    return known


def _content(path: Path) -> bytes:
    import pyarrow as pa

    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            content: bytes = stream.read()
            return content
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInput(f"{path} can't be read: {error}", hint="is it damaged, or not yours to read?") from error


def _refuse_unknown(types: Mapping[str, object], names: Sequence[str], path: Path) -> None:
    unknown = [column for column in types if column not in names]
    if unknown:
        raise InvalidInput(f"{path} has no column '{unknown[0]}' to give a type", hint=did_you_mean(unknown[0], names))


def _refuse_other_columns(name: TableName, stored: Sequence[str], given: Sequence[str], path: Path) -> None:
    missing = [column for column in stored if column not in given]
    extra = [column for column in given if column not in stored]
    if missing:
        raise InvalidInput(
            f"{path} has no column '{missing[0]}', which table {name} has",
            hint=f"the file has: {', '.join(given)}",
            column=missing[0],
        )
    if extra:
        raise InvalidInput(
            f"{path} has a column '{extra[0]}', which table {name} lacks",
            hint=did_you_mean(extra[0], stored) + "; or replace the table",
            column=extra[0],
        )
