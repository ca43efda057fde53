"""Which Arrow columns a Delta table can hold, and how rows are made to fit one.

The rule: a value is stored as it is or refused. A type never changes, digits are never rounded away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from millrace.core.errors import InvalidInput
from millrace.lake.sql_types import TIMESTAMP, type_name

_WIDER = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.int64()}
_MOST_DIGITS = 38


def storable_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with each type replaced by the one that Delta stores for it; metadata is dropped.

    Timestamps become microseconds UTC, unsigned integers the next wider signed ones, dictionaries and views plain.

    Raises:
        InvalidInput: a type that Delta does not have, a column without a type, or two columns of one name.
    """
    _refuse_double_names(schema.names)
    return pa.schema([pa.field(field.name, _storable(field.name, field.type), field.nullable) for field in schema])


def storable(rows: pa.Table) -> pa.Table:
    """The rows with types that Delta stores.

    Raises:
        InvalidInput: as `storable_schema`, and values that do not fit (nanoseconds that would be cut).
    """
    schema = storable_schema(rows.schema)
    columns = [_cast(field.name, rows.column(i), field.type) for i, field in enumerate(schema)]
    return pa.Table.from_arrays(columns, schema=schema)


def conform(rows: pa.Table, table: pa.Schema, *, fill: bool = True) -> pa.Table:
    """The rows in the table's columns and types: its order first, new columns behind.

    Args:
        rows: any order of columns; names match exactly.
        table: the stored schema.
        fill: add null columns for those that the rows lack.

    Raises:
        InvalidInput: another type than the stored one, a null or missing value in a column that has none, a value
            that does not fit.
    """
    _refuse_double_names([*table.names, *(name for name in rows.schema.names if name not in table.names)])
    _refuse_double_names(rows.schema.names)
    known = [_conformed(rows, field) for field in table if fill or field.name in rows.schema.names]
    fields = [field for field in table if fill or field.name in rows.schema.names]
    new = storable(rows.select([name for name in rows.schema.names if name not in table.names]))
    # A new column is null in the rows that are already there, so it is nullable whatever the frame says.
    fields += [field.with_nullable(True) for field in new.schema]
    return pa.Table.from_arrays(known + new.columns, schema=pa.schema(fields))


def new_columns(rows: pa.Table, table: pa.Schema) -> list[str]:
    """Names of the columns that the table does not have."""
    return [name for name in rows.schema.names if name not in table.names]


def refuse_duplicate_keys(rows: pa.Table, keys: Iterable[str]) -> None:
    """Check that no two rows have the same key; null equals null here.

    Raises:
        InvalidInput: up to 5 of the duplicate keys and their number; or a key column that is not there.
    """
    names = list(keys)
    missing = [name for name in names if name not in rows.schema.names]
    if missing or not names:
        what = f"key column '{missing[0]}' is missing" if missing else "no key columns were given"
        raise InvalidInput(what, hint=f"the rows have: {', '.join(rows.schema.names)}")
    # pyarrow reads some names (".") as paths: the columns are counted by number.
    numbered = [str(index) for index in range(len(names))]
    counts = rows.select(names).rename_columns(numbered).group_by(numbered).aggregate([([], "count_all")])
    doubles = counts.filter(pc.field("count_all") > 1)
    if doubles.num_rows:
        shown = ", ".join(_shown(row, numbered) for row in doubles.slice(0, 5).to_pylist())
        raise InvalidInput(
            f"{doubles.num_rows} keys are there more than once: {shown}",
            hint=f"keep one row for each ({', '.join(names)})",
            keys=tuple(names),
            duplicates=doubles.num_rows,
        )


def _shown(row: dict[str, object], names: list[str]) -> str:
    return f"({', '.join(str(row[name]) for name in names)})"


def _refuse_double_names(names: list[str]) -> None:
    double = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
    if double:
        raise InvalidInput(
            f"there is more than one column '{double[0]}'", hint="rename one; case does not make a name another one"
        )


def _storable(name: str, arrow: pa.DataType) -> pa.DataType:  # noqa: PLR0911 - a table of types
    if isinstance(arrow, pa.BaseExtensionType):
        return _storable(name, arrow.storage_type)
    if kinds.is_dictionary(arrow) or kinds.is_run_end_encoded(arrow):
        return _storable(name, arrow.value_type)
    if kinds.is_decimal(arrow) and arrow.precision <= _MOST_DIGITS:
        return pa.decimal128(arrow.precision, arrow.scale)
    if kinds.is_map(arrow):
        return pa.map_(_storable(name, arrow.key_type), _storable(name, arrow.item_type))
    if kinds.is_struct(arrow):
        return pa.struct([pa.field(part.name, _storable(name, part.type), part.nullable) for part in arrow])
    if _is_list(arrow):
        return pa.list_(_storable(name, arrow.value_type))
    return _storable_plain(name, arrow)


def _storable_plain(name: str, arrow: pa.DataType) -> pa.DataType:
    for holds, stored in _PLAIN:
        if holds(arrow):
            return stored
    if kinds.is_null(arrow):
        raise InvalidInput(
            f"column '{name}' has no type: all its values are null", hint="cast it to the type it will hold"
        )
    if not (kinds.is_integer(arrow) or kinds.is_floating(arrow) or kinds.is_boolean(arrow)):
        raise InvalidInput(
            f"column '{name}' is {arrow}, which a table can't hold", hint="cast it to a number or to text"
        )
    return _WIDER.get(arrow, arrow)


_PLAIN = (
    (kinds.is_timestamp, TIMESTAMP),
    (kinds.is_date, pa.date32()),
    (lambda arrow: kinds.is_string(arrow) or kinds.is_large_string(arrow) or kinds.is_string_view(arrow), pa.string()),
    (
        lambda arrow: any(
            holds(arrow)
            for holds in (kinds.is_binary, kinds.is_large_binary, kinds.is_binary_view, kinds.is_fixed_size_binary)
        ),
        pa.binary(),
    ),
    (kinds.is_float16, pa.float32()),
)


def _is_list(arrow: pa.DataType) -> bool:
    return bool(
        kinds.is_list(arrow)
        or kinds.is_large_list(arrow)
        or kinds.is_fixed_size_list(arrow)
        or kinds.is_list_view(arrow)
        or kinds.is_large_list_view(arrow)
    )


def whole_numbers(given: pa.DataType, stored: pa.DataType) -> str:
    """More of a hint, where whole numbers came as floats: pandas makes them so when one is missing."""
    floats = kinds.is_floating(given) and kinds.is_integer(stored)
    return " (pandas: astype('Int64') keeps whole numbers beside missing ones)" if floats else ""


def _conformed(rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in rows.schema.names:
        if not field.nullable and rows.num_rows:
            raise InvalidInput(
                f"column '{field.name}' is missing", hint="the table has no nulls in it: give its values"
            )
        return pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
    column = rows.column(field.name)
    if not field.nullable and column.null_count:
        raise InvalidInput(
            f"column '{field.name}' has {column.null_count} nulls",
            hint="the table has no nulls in it: fill or drop those rows",
        )
    if kinds.is_null(column.type):
        return column.cast(field.type)
    given = _storable(field.name, column.type)
    if not _may_become(given, field.type):
        raise InvalidInput(
            f"column '{field.name}' is {type_name(given)}, the table stores {type_name(field.type)}",
            hint=f"cast it to {type_name(field.type)}, or write it to a new column{whole_numbers(given, field.type)}",
            column=field.name,
        )
    return _cast(field.name, column, field.type)


def _may_become(given: pa.DataType, stored: pa.DataType) -> bool:
    """Whether a type is of the stored one's kind; that each value fits is checked by the cast."""
    if kinds.is_integer(given):
        return bool(kinds.is_integer(stored) or kinds.is_floating(stored) or kinds.is_decimal(stored))
    if kinds.is_decimal(given):
        return bool(kinds.is_decimal(stored))
    if kinds.is_float32(given):
        return bool(kinds.is_floating(stored))
    if kinds.is_list(given) and kinds.is_list(stored):
        return _may_become(given.value_type, stored.value_type)
    if kinds.is_struct(given) and kinds.is_struct(stored):
        return [part.name for part in given] == [part.name for part in stored] and all(
            _may_become(one.type, other.type) for one, other in zip(given, stored, strict=True)
        )
    return bool(given == stored)


def _cast(name: str, column: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray:
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if column.type == to:
        return column
    try:
        return column.cast(to, safe=True)
    except pa.ArrowInvalid as error:
        raise _does_not_fit(name, column.type, to) from error


def _does_not_fit(name: str, given: pa.DataType, to: pa.DataType) -> InvalidInput:
    if kinds.is_timestamp(given):
        return InvalidInput(
            f"column '{name}' has times finer than a microsecond",
            hint="tables keep microseconds: round the times first",
            column=name,
        )
    return InvalidInput(
        f"column '{name}' has values that do not fit {type_name(to)}",
        hint=f"they come as {type_name(given)}: round or filter them, or use a wider column",
        column=name,
    )
