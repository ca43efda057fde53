"""Which columns have their smallest and greatest value kept: in the log for each file, in a file for each row group.

Readers leave out what these say has no row for them, and take a column for constant where the two are one. NaN is in
neither: of a file with 1.5 and NaN, Sail read 1.5 twice, a delete of `x = 1.5` took both rows, and DuckDB and Arrow found no
NaN. So columns of floats have none, as in files that Spark writes with a NaN.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from deltalake import ColumnProperties, WriterProperties  # noqa: TID253 - this is its adapter

_MOST = 32  # Delta's own default
_FLOAT_DIGITS = 15  # so many decimal digits every float64 keeps
_ZSTD_LEVEL = 4
_KEPT, _NOT_KEPT = ColumnProperties(statistics_enabled="PAGE"), ColumnProperties(statistics_enabled="NONE")


def statistics_columns(schema: pa.Schema) -> str:
    """Those of the log, as Delta's setting has them.

    Not decimals that a float can't hold: delta-rs writes their statistics as floats, and an engine that takes a constant
    column's value from the log would read another number.
    """
    plain = [field.name for field in schema if _has_order(field.type) and not _is_wide_decimal(field.type)]
    return ",".join("`" + name.replace("`", "``") + "`" for name in plain[:_MOST])


def writer_properties(*schemas: pa.Schema, compression: Literal["SNAPPY", "ZSTD"] = "SNAPPY") -> WriterProperties:
    """How files with the columns of these schemas (a table's, and those of rows that add some) are written, packed as delta-rs does."""
    kept = {field.name: _KEPT for schema in schemas for field in schema if _has_order(field.type)}
    return WriterProperties(
        compression=compression,
        compression_level=_ZSTD_LEVEL if compression == "ZSTD" else None,
        default_column_properties=_NOT_KEPT,
        column_properties=kept,
    )


def _has_order(kind: pa.DataType) -> bool:
    return not (pa.types.is_floating(kind) or pa.types.is_nested(kind))


def _is_wide_decimal(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind) and kind.precision > _FLOAT_DIGITS)
