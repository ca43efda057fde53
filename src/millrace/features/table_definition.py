"""Checks of what a feature table is declared to be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.features.identity import is_time, key_family
from millrace.features.types import check_duration
from millrace.lake.types import TableDefinition

# What a partition's folder can be named by and read back from by every engine.
_PARTITIONS = ("integer", "text", "boolean", "date")
_NOT_IN_FOLDERS = {"=", "%", "/"}

if TYPE_CHECKING:
    import pyarrow as pa


def check_definition(definition: TableDefinition, schema: pa.Schema) -> None:
    """Refuse a feature table that can't be.

    Raises:
        InvalidInput: no key, a key or time that is missing or can't be one, rules that need a time and have none.
    """
    keys, time = definition.primary_keys, definition.timeseries_column
    _check_keys(keys, schema)
    _check_there([*definition.partition_columns, *([] if time is None else [time])], schema)
    _check_partitions(definition.partition_columns, schema)
    if time is not None and not is_time(schema.field(time).type):
        raise InvalidInput(
            f"the timeseries column '{time}' is {schema.field(time).type}, not a time",
            hint="make it a timestamp or a date",
            column=time,
        )
    check_duration("available_after", definition.available_after)
    if definition.available_after < timedelta(0) or (definition.available_after and time is None):
        raise InvalidInput(
            "available_after needs a timeseries column and can't be negative",
            hint="give a positive timedelta and name the timeseries column",
        )
    if definition.date_stands_for not in ("end", "start"):
        raise InvalidInput(
            f"date_stands_for is '{definition.date_stands_for}'", hint="choose 'end' (of the day) or 'start'"
        )
    check_freshness(definition.freshness)


def check_freshness(freshness: timedelta | None) -> None:
    """Refuse an expectation that nothing can meet.

    Raises:
        InvalidInput: it is no timedelta, zero or negative.
    """
    check_duration("freshness", freshness)
    if freshness is not None and freshness <= timedelta(0):
        raise InvalidInput("freshness is not positive", hint="say how old the newest row may be: timedelta(days=2)")


def _check_keys(keys: Sequence[str], schema: pa.Schema) -> None:
    if not keys:
        raise InvalidInput("a feature table needs a primary key", hint="name its key columns in primary_keys")
    if len(set(keys)) < len(keys):
        raise InvalidInput("primary_keys names a column twice", hint="name each column once")
    _check_there(keys, schema)
    for name in keys:
        if key_family(schema.field(name).type) in (None, "null"):
            raise InvalidInput(
                f"'{name}' is {schema.field(name).type}, which can't be a key",
                hint="use whole numbers, text, booleans, dates, times, decimals or bytes",
                column=name,
            )


def _check_there(names: Sequence[str], schema: pa.Schema) -> None:
    for name in names:
        if name not in schema.names:
            raise InvalidInput(f"the schema has no column '{name}'", hint=did_you_mean(name, schema.names), column=name)


def _check_partitions(partitions: Sequence[str], schema: pa.Schema) -> None:
    for name in partitions:
        if key_family(schema.field(name).type) not in _PARTITIONS:
            raise InvalidInput(
                f"'{name}' is {schema.field(name).type}, which can't be a partition column",
                hint="use whole numbers, text, booleans or dates",
                column=name,
            )
        if set(name) & _NOT_IN_FOLDERS:
            raise InvalidInput(
                f"'{name}' can't be a partition column: its name can't be read back from a folder's",
                hint=f"call it by a name without {' '.join(sorted(_NOT_IN_FOLDERS))}",
                column=name,
            )
    if partitions and len(set(partitions)) == len(schema.names):
        raise InvalidInput("every column is a partition column", hint="leave at least one column to the files")
