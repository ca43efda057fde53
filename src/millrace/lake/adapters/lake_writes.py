"""Writes of a session: into tables of the lake by the lake's writer, elsewhere by the engine, and nowhere in feature functions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyspark.sql.connect.proto as pb2  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.client.core import ExecutionInfo  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.dataframe import DataFrame  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.plan import CachedRelation  # noqa: TID253 - this is its adapter

from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.lake.adapters.session_scope import current, refuse
from millrace.lake.frames import to_arrow
from millrace.lake.saving import SaveMode, save_rows
from millrace.lake.sql.tokens import name_parts

if TYPE_CHECKING:
    import pyarrow as pa

_V1: dict[int, SaveMode] = {0: "error", 1: "append", 2: "overwrite", 3: "error", 4: "ignore"}
_V2: dict[int, SaveMode] = {1: "error", 4: "insert", 5: "replace", 6: "overwrite"}
_WRITES = frozenset(
    {"write_operation", "write_operation_v2", "merge_into_table_command", "write_stream_operation_start"}
)
_OTHERS_INSIDE = frozenset(
    {"checkpoint_command", "register_data_source", "register_table_function", "execute_external_command"}
)
_DONE = ExecutionInfo(None, [])


class _Rows(CachedRelation):  # type: ignore[misc]  # pyspark is untyped
    """A frame's plan as it came with a command, with the observations that hang on it."""

    def __init__(self, plan: Any, observations: Any) -> None:
        super().__init__(plan)
        self._observations = observations

    @property
    def observations(self) -> Any:
        """By name."""
        return self._observations


def intercept(session: Any, command: Any, observations: Any) -> ExecutionInfo | None:
    """Do a command here where it writes a table of the lake; None where the engine is to do it.

    Raises:
        InvalidInput: it writes in a way that the lake has not, or inside a feature function.
    """
    kind = command.WhichOneof("command_type")
    scope = current()
    if scope is not None and kind in _WRITES:
        raise refuse("write", "return the frame: millrace stores it")
    if scope is not None and kind in _OTHERS_INSIDE:
        raise refuse(f"send a {kind}", "leave it out: the function is called once per time, and its result is stored")
    if kind == "create_dataframe_view":
        _note_view(session, command.create_dataframe_view)
    if session.lake is None:
        return None
    if kind == "write_operation":
        return _write(session, command.write_operation, observations)
    if kind == "write_operation_v2":
        return _write_v2(session, command.write_operation_v2, observations)
    if kind == "merge_into_table_command":
        _refuse_merge(session, command.merge_into_table_command)
    if kind == "write_stream_operation_start" and command.write_stream_operation_start.table_name:
        raise InvalidInput(
            "a stream can't write to a table by name", hint="use foreachBatch, and save each batch with saveAsTable"
        )
    return None


def save(
    session: Any,
    name: str | tuple[str, ...],
    frame: Any,
    mode: SaveMode,
    *,
    partitions: Sequence[str] = (),
    description: str = "",
) -> None:
    """Save a frame, or an Arrow table, under a name. See `save_rows`."""

    def rows() -> pa.Table:
        return to_arrow(frame)

    save_rows(session.lake, table_name(name), rows, mode, partitions=partitions, description=description)


def table_name(name: str | tuple[str, ...]) -> TableName:
    """A name as it is given to a writer.

    Raises:
        InvalidInput: it can't be the name of a table.
    """
    parts = name_parts(name) if isinstance(name, str) else name
    return TableName.parse(".".join(parts) if parts else str(name))


def _write(session: Any, write: Any, observations: Any) -> ExecutionInfo | None:
    if write.WhichOneof("save_type") != "table":
        _refuse_inside_warehouse(session, write.path)
        return None
    _check_options(write, write.source)
    mode = _V1[write.mode]
    if write.table.save_method == pb2.WriteOperation.SaveTable.TABLE_SAVE_METHOD_INSERT_INTO:
        mode = "refill" if mode == "overwrite" else "insert"
        frame = _in_order(session, write.table.table_name, _frame(session, write.input, observations))
    else:
        frame = _frame(session, write.input, observations)
    save(session, write.table.table_name, frame, mode, partitions=list(write.partitioning_columns))
    return _DONE


def _write_v2(session: Any, write: Any, observations: Any) -> ExecutionInfo:
    if write.mode not in _V2:
        raise InvalidInput(
            "a part of a table can't be overwritten through a session",
            hint="delete the rows (spark.sql('DELETE FROM ...')) and append the new ones",
        )
    _check_options(write, write.provider)
    partitions = [_column(expression) for expression in write.partitioning_columns]
    save(session, write.table_name, _frame(session, write.input, observations), _V2[write.mode], partitions=partitions)
    return _DONE


def _check_options(write: Any, provider: str) -> None:
    if provider not in {"", "delta"}:
        raise InvalidInput(
            f"a table can't be stored as {provider}", hint="leave format() and using() out: tables are Delta tables"
        )
    if write.DESCRIPTOR.name == "WriteOperation" and write.HasField("bucket_by"):
        raise InvalidInput("a table can't have buckets", hint="use partitionBy, or nothing")
    if "path" in write.options:
        raise InvalidInput(
            "a table's place can't be chosen", hint="leave the path out: the workspace knows where its tables are"
        )


def _frame(session: Any, relation: Any, observations: Any) -> DataFrame:
    own = pb2.Relation()
    own.CopyFrom(relation)
    return DataFrame(_Rows(own, observations or {}), session)


def _in_order(session: Any, name: str, frame: DataFrame) -> Any:
    """`insertInto` goes by the place of columns, not by their names."""
    columns = session.lake.schema(table_name(name)).names
    if len(columns) != len(frame.columns):
        raise InvalidInput(
            f"{name} has {len(columns)} columns, and the frame {len(frame.columns)}",
            hint="give each column of the table, in its order; or append by names with saveAsTable",
        )
    return to_arrow(frame).rename_columns(columns)


def _column(expression: Any) -> str:
    name = str(expression.unresolved_attribute.unparsed_identifier)
    if not name:
        raise InvalidInput("a table is partitioned by columns, not by expressions", hint="add a column with the value")
    parts = name_parts(name)
    return parts[0] if parts else name


def _refuse_inside_warehouse(session: Any, path: str) -> None:
    plain = path.removeprefix("file://")
    root = str(session.lake.warehouse)
    place = plain if "://" in plain else os.path.abspath(plain)  # noqa: PTH100 - it may be a URL
    if plain and (place == root or place.startswith(root + "/")):
        raise InvalidInput(
            f"{path} is inside the warehouse, where each table is kept by its name", hint="use saveAsTable(name)"
        )


def _refuse_merge(session: Any, merge: Any) -> None:
    if session.entry(name_parts(merge.target_table_name) or ()):
        raise InvalidInput(
            f"{merge.target_table_name} can't be merged into by a session",
            hint="use FeatureEngineeringClient.write_table(mode='merge') for a feature table; or overwrite the table",
        )


def _note_view(session: Any, view: Any) -> None:
    scope = current()
    if scope is None:
        if not view.is_global:  # those are found by a schema of their own
            session.outer_views.add(view.name.lower())
        return
    if view.is_global:
        raise refuse("make a global view", "use createOrReplaceTempView")
    if view.name.lower() in session.outer_views:
        raise refuse(f"replace the view {view.name}, which was made outside", "give it another name")
    scope.views.add(view.name.lower())
