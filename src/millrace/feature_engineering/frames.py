"""Frames and schemas of any kind, as Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.lake.frames import to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["to_arrow", "to_schema"]


def to_schema(schema: object) -> pa.Schema:
    """An Arrow schema of an Arrow or a PySpark one.

    Raises:
        InvalidInput: it is neither.
    """
    import pyarrow as pa

    if isinstance(schema, pa.Schema):
        return schema
    if type(schema).__name__ == "StructType":
        from pyspark.sql.pandas.types import to_arrow_schema

        return to_arrow_schema(schema, timezone="UTC")
    what = "a table needs df or schema" if schema is None else f"a {type(schema).__name__} is not a schema"
    raise InvalidInput(what, hint="give rows, or a PySpark StructType or Arrow schema")
