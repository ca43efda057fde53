"""A Parquet file: its types are its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pyarrow.types as kinds

from millrace.core.errors import InvalidInput
from millrace.lake.columns import storable_schema
from millrace.lake.sql_types import type_name
from millrace.lake.text_values import BadValue, convert


class ParquetFile:
    """The content of a Parquet file.

    Raises:
        InvalidInput: not a Parquet file.
    """

    typed = True

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._rows = pyarrow.parquet.ParquetFile(path).read()
        except (pa.ArrowInvalid, OSError) as error:
            raise InvalidInput(f"{path} is not a Parquet file: {error}", hint="is it complete?") from error
        self.names: list[str] = self._rows.schema.names

    def table(self, types: Mapping[str, pa.DataType]) -> pa.Table:
        """The rows, cast to the given types where that keeps every value.

        Raises:
            InvalidInput: a column can't be cast, with its first row that can't where that is one value's fault.
        """
        stored = storable_schema(self._rows.schema)
        columns = {}
        for field in stored:
            column, to = self._rows.column(field.name), types.get(field.name)
            if to is None or to == field.type or kinds.is_null(column.type):
                columns[field.name] = column
            else:
                columns[field.name] = self._cast(field, column, to)
        return pa.table(columns)

    def _cast(self, field: pa.Field, column: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray:
        if kinds.is_string(field.type) and not kinds.is_string(to):
            done = convert(column.cast(pa.string()), to)
            if isinstance(done, BadValue):
                raise InvalidInput(
                    f"{self._path}, row {done.row + 1}: '{done.value[:60]}' in column '{field.name}' is not {done.expected}",
                    hint="correct the value, or choose another type for the column",
                    column=field.name,
                )
            return done
        try:
            return column.cast(to)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(
                f"column '{field.name}' of {self._path} is {type_name(field.type)} and can't become {type_name(to)}: {error}",
                hint="choose another type for the column",
                column=field.name,
            ) from error
