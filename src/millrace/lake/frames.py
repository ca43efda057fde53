"""Whatever frame a user has, as an Arrow table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millrace.core.errors import InvalidInput

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.lake.types import TableVersion


def to_arrow(frame: object) -> pa.Table:
    """The rows of a pandas, Polars, Arrow or Spark frame, or of anything with `__arrow_c_stream__`, copied where needed.

    Text and bytes come out in Arrow's plain layouts, and categories as their values, whichever library made them. A lazy Polars
    frame is collected. A pandas index is dropped where it has no name and becomes columns where it has one; NaN in pandas is null, and times
    with a zone come out in UTC. Columns of a Spark frame may be null whatever Spark infers: its guess is no promise.

    Raises:
        InvalidInput: not a frame, or a column with values of different kinds.
    """
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        return _plain(frame)
    if isinstance(frame, pa.RecordBatchReader):
        return _plain(frame.read_all())
    if hasattr(frame, "toArrow"):
        return _nullable(frame.toArrow())
    library = type(frame).__module__.partition(".")[0]
    if library == "polars":
        frame = _polars_frame(frame)
    try:
        if library == "pandas":
            return _plain(_from_pandas(frame))
        if isinstance(frame, pa.RecordBatch):
            return _plain(pa.Table.from_batches([frame]))
        if hasattr(frame, "__arrow_c_stream__"):
            return _plain(pa.table(frame).replace_schema_metadata(None))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(
            f"the frame can't be stored: {' '.join(map(str, error.args))}",
            hint="give each column values of one kind (numbers, text, times)",
        ) from error
    raise InvalidInput(f"a {type(frame).__name__} is not a frame", hint="give a pandas, Polars, Arrow or Spark frame")


def _from_pandas(frame: object) -> pa.Table:
    import pandas as pd
    import pyarrow as pa

    if not isinstance(frame, pd.DataFrame):
        raise InvalidInput(
            f"a pandas {type(frame).__name__} is not a frame", hint="give a DataFrame: series.to_frame()"
        )
    rows: Any = frame.reset_index() if any(name is not None for name in frame.index.names) else frame
    not_text = [column for column in rows.columns if not isinstance(column, str)]
    if not_text:
        raise InvalidInput(f"the column name {not_text[0]!r} is not text", hint="rename it: frame.columns = [...]")
    twice = rows.columns[rows.columns.duplicated()]
    if len(twice):
        raise InvalidInput(f"there is more than one column '{twice[0]}'", hint="keep one, or rename one")
    # pandas 3.1 warns when pyarrow takes times with a zone out of it; without one they are UTC in a table, too.
    zoned = [name for name, kind in rows.dtypes.items() if isinstance(kind, pd.DatetimeTZDtype)]
    rows = rows.assign(**{name: rows[name].dt.tz_convert(None) for name in zoned})
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    for name in zoned:
        index = table.schema.get_field_index(name)
        column = table.column(index)
        table = table.set_column(index, name, column.cast(pa.timestamp(column.type.unit, tz="UTC")))
    return table


def _nullable(rows: pa.Table) -> pa.Table:
    import pyarrow as pa

    return rows.cast(pa.schema([field.with_nullable(True) for field in rows.schema]))


def tables_read(frame: object) -> tuple[TableVersion, ...]:
    """The workspace's tables that a Spark frame of a millrace session reads, pinned; of any other frame nothing is known."""
    look = getattr(getattr(frame, "sparkSession", None), "tables_read", None)
    return look(frame) if look else ()


def is_frame(value: object) -> bool:
    """Whether `to_arrow` takes it, as far as its kind goes."""
    import pyarrow as pa

    if isinstance(value, pa.Table | pa.RecordBatch) or hasattr(value, "toArrow"):
        return True
    library, kind = type(value).__module__.partition(".")[0], type(value).__name__
    if library in {"pandas", "polars"}:
        return kind in {"DataFrame", "LazyFrame"}
    return hasattr(value, "__arrow_c_stream__")


def _polars_frame(frame: Any) -> object:
    if hasattr(frame, "collect"):
        return frame.collect()
    if type(frame).__name__ == "Series":
        raise InvalidInput("a Polars Series is not a frame", hint="give a DataFrame: series.to_frame()")
    return frame


def _plain(table: pa.Table) -> pa.Table:
    """The table without view layouts and dictionaries, which not every reader of Arrow knows; itself where it has none."""
    import pyarrow as pa

    for index, column in enumerate(table.schema):
        kind = _plain_type(column.type)
        if kind != column.type:
            values = table.column(index)
            if pa.types.is_dictionary(column.type):
                values = pa.chunked_array([_decoded(chunk, kind) for chunk in values.chunks], kind)
            table = table.set_column(index, pa.field(column.name, kind, column.nullable), values.cast(kind))
    return table


def _decoded(chunk: pa.DictionaryArray, kind: pa.DataType) -> pa.Array:
    # Arrow decodes no dictionary of views: its values are made plain first.
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(kind)).cast(kind)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _plain_type(kind.value_type)
        return kind if inner == kind.value_type else pa.list_(inner)
    if pa.types.is_struct(kind):
        fields = [pa.field(inner.name, _plain_type(inner.type), inner.nullable) for inner in kind]
        return kind if all(a.type == b.type for a, b in zip(fields, kind, strict=True)) else pa.struct(fields)
    return kind
