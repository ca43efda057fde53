"""`spark.sql` over the workspace's tables: queries get them as views of their own, changes go through the lake's writer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as sf  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.dataframe import DataFrame  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.plan import SQL, CachedRelation, SubqueryAlias  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.sql_formatter import SQLStringFormatter  # noqa: TID253 - this is its adapter

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.lake.adapters.lake_writes import save, table_name
from millrace.lake.adapters.session_scope import current, refuse
from millrace.lake.saving import check_own
from millrace.lake.sql.predicate import delete_predicate
from millrace.lake.sql.references import Reference, replace
from millrace.lake.sql.statements import (
    CreateSchema,
    CreateTable,
    CreateView,
    Delete,
    Describe,
    Drop,
    Insert,
    Other,
    Query,
    ShowTables,
    Statement,
    statement,
)

if TYPE_CHECKING:
    import pyarrow as pa

# Table-valued functions that read nothing.
_HARMLESS = frozenset(
    {
        "range",
        "explode",
        "explode_outer",
        "posexplode",
        "posexplode_outer",
        "inline",
        "inline_outer",
        "stack",
        "json_tuple",
        "variant_explode",
        "variant_explode_outer",
    }
)


def run_sql(session: Any, text: str, args: Any, frames: Mapping[str, Any]) -> Any:
    """Run a statement; see `LakeSession.sql`."""
    formatter = SQLStringFormatter(session)
    if frames:
        text = formatter.format(text, **frames)
    given = {name: frame for frame, name in formatter._temp_views}  # noqa: SLF001 - as PySpark's own sql does
    run = _Sql(session, args, given)
    return run.run(text, statement(text))


class _Sql:
    """One call of `spark.sql`: its arguments, and the frames that its text names."""

    def __init__(self, session: Any, args: Any, given: Mapping[str, Any]) -> None:
        self.session, self.given = session, given
        if args is not None and not isinstance(args, dict | list):
            raise InvalidInput(f"args is a {type(args).__name__}", hint="give a list, or a dict by name")
        self.positional = [sf.lit(value) for value in args] if isinstance(args, list) else []
        self.by_name = {name: sf.lit(value) for name, value in args.items()} if isinstance(args, dict) else {}

    def run(self, text: str, what: Statement) -> Any:
        """Do what the statement says; changes answer with an empty frame, as in Spark."""
        if isinstance(what, Query):
            return self.query(text)
        if current() is not None and not isinstance(what, CreateView):
            raise refuse("run this SQL: " + text[:60], "query, and return the frame")
        if isinstance(what, CreateView):
            return self._view(what, text)
        if self.session.lake is None:
            return self.query(text)
        if isinstance(what, Other):
            return self._other(what, text)
        if isinstance(what, Describe | ShowTables):
            return self._shown(what, text)
        self._change(what)
        return self._nothing()

    def query(self, text: str) -> DataFrame:
        """A frame of a query, or of what a command answers."""
        scope = current()
        if scope is not None:
            scope.guard.check_text(text)
        views: dict[str, Any] = {}

        def name(reference: Reference) -> str | None:
            return self._view_of(reference, views)

        replaced = replace(text, name)
        used = {known: frame for known, frame in self.given.items() if known in text}
        aliases = [SubqueryAlias(frame._plan, known) for known, frame in (used | views).items()]  # noqa: SLF001 - as PySpark's own sql does
        plan = SQL(replaced, self.positional, self.by_name, aliases)
        frame = DataFrame(plan, self.session)
        if scope is not None:
            # The text alone: the tables that it names were allowed as they were looked up, a frame that was given was not.
            scope.guard.allowed.add(plan._root_plan_id)  # noqa: SLF001 - a plan's number has no public name
        client = self.session.client
        _, answer, info = client.execute_command(plan.command(client))
        if _is_command(answer):
            frame = DataFrame(CachedRelation(answer["sql_command_result"]), self.session)
        frame._execution_info = info  # noqa: SLF001 - as PySpark's own sql does
        return frame

    def _view_of(self, reference: Reference, views: dict[str, Any]) -> str | None:
        parts = reference.parts
        if reference.is_call:
            self._check_call(parts)
            return None
        if len(parts) == 1 and parts[0] in self.given:
            return None
        frame = self.session.named(parts, reference.version, reference.time)
        if frame is None:
            return None
        name = f"millrace_{frame._plan._plan_id}"  # noqa: SLF001 - unique in this process
        views[name] = frame
        return name

    def _check_call(self, parts: tuple[str, ...]) -> None:
        name = ".".join(parts).lower()
        if name == "identifier":
            raise InvalidInput("a table can't be named by an expression", hint="write its name into the SQL")
        if current() is not None and name not in _HARMLESS:
            raise refuse(f"read the table function {name}", "read tables by their names")

    def _view(self, what: CreateView, text: str) -> DataFrame:
        if not what.is_temporary or len(what.name) > 1:
            if self.session.lake is None:
                return self.query(text)
            raise InvalidInput(
                f"a view like {'.'.join(what.name)} can't be kept: the workspace has tables only",
                hint="write CREATE TEMPORARY VIEW, or CREATE TABLE ... AS SELECT",
            )
        frame = self.query(what.query)
        if what.is_replace:
            frame.createOrReplaceTempView(what.name[0])
        else:
            frame.createTempView(what.name[0])
        return self._nothing()

    def _other(self, what: Other, text: str) -> DataFrame:
        if what.name and self.session.entry(what.name) is None:
            return self.query(text)  # not ours: the engine may know it
        about = ".".join(what.name) or "tables of the workspace"
        raise InvalidInput(
            f"{what.what} can't be done to {about}" if what.what != "USE" else "the current schema can't be changed",
            hint="write the schema before each table's name"
            if what.what == "USE"
            else "use INSERT INTO, DELETE FROM or CREATE OR REPLACE TABLE ... AS SELECT; feature tables: FeatureEngineeringClient.write_table",
        )

    def _change(self, what: Statement) -> None:
        if isinstance(what, CreateTable):
            self._create(what)
        elif isinstance(what, Insert):
            self._insert(what)
        elif isinstance(what, Delete):
            self._delete(what)
        elif isinstance(what, Drop):
            self._drop(what)
        else:
            assert isinstance(what, CreateSchema)  # noqa: S101 - all others were handled: a schema is there with its first table

    def _create(self, what: CreateTable) -> None:
        if what.provider not in {"", "delta"}:
            raise InvalidInput(f"a table can't be stored as {what.provider}", hint="write USING delta, or nothing")
        if (what.query is None) == (what.columns is None):
            raise InvalidInput(
                f"CREATE TABLE {'.'.join(what.name)} needs either columns or AS SELECT",
                hint="write CREATE TABLE name (id BIGINT, ...) or CREATE TABLE name AS SELECT ...",
            )
        mode: Any = "overwrite" if what.is_replace else ("ignore" if what.is_optional else "error")
        rows = self.query(what.query) if what.query is not None else self._empty(str(what.columns))
        save(self.session, what.name, rows, mode, partitions=what.partitions, description=what.comment)

    def _empty(self, columns: str) -> pa.Table:
        from pyspark.sql.pandas.types import to_arrow_schema

        return to_arrow_schema(self.session._parse_ddl(columns), timezone="UTC").empty_table()  # noqa: SLF001 - the engine reads its own types

    def _insert(self, what: Insert) -> None:
        from millrace.lake.frames import to_arrow

        rows = to_arrow(self.query(what.query))
        known = self.session.lake.schema(table_name(what.name)).names
        columns = list(what.columns) or known
        unknown = [column for column in columns if column not in known]
        if unknown:
            raise InvalidInput(
                f"{'.'.join(what.name)} has no column '{unknown[0]}'", hint=did_you_mean(unknown[0], known)
            )
        if len(columns) != rows.num_columns:
            raise InvalidInput(
                f"{'.'.join(what.name)} is given {rows.num_columns} columns for {len(columns)}",
                hint=f"its columns are {', '.join(known)}",
            )
        # As in Spark, columns go by their place.
        save(self.session, what.name, rows.rename_columns(columns), "refill" if what.is_overwrite else "insert")

    def _delete(self, what: Delete) -> None:
        lake = self.session.lake
        name = table_name(what.name)
        check_own(lake.entry(name), "DELETE")
        lake.delete(name, delete_predicate(what.predicate, lake.schema(name)) if what.predicate else "true")

    def _drop(self, what: Drop) -> None:
        entry = self.session.entry(what.name)
        if entry is None and what.is_optional:
            return
        entry = entry or self.session.lake.entry(table_name(what.name))
        check_own(entry, "DROP TABLE")
        self.session.lake.drop(entry.name)

    def _shown(self, what: Describe | ShowTables, text: str) -> DataFrame:
        if isinstance(what, ShowTables):
            found = self.session.catalog.listTables(".".join(what.schema) or None)
            rows = [(".".join(table.namespace or []), table.name, table.isTemporary) for table in found]
            return self.session.createDataFrame(rows, "namespace string, tableName string, isTemporary boolean")
        entry = self.session.entry(what.name)
        if entry is None:
            return self.query(text)
        if not what.is_history:
            fields = self.session.table(".".join(f"`{part}`" for part in what.name)).schema
            rows = [(field.name, field.dataType.simpleString(), None) for field in fields]
            return self.session.createDataFrame(rows, "col_name string, data_type string, comment string")
        history = [
            (int(info.version), info.at, info.by, info.operation, info.why)
            for info in reversed(self.session.lake.history(entry.name))
        ]
        kinds = "version bigint, timestamp timestamp, userName string, operation string, why string"
        return self.session.createDataFrame(history, kinds)

    def _nothing(self) -> DataFrame:
        return self.session.createDataFrame([], "nothing string").drop("nothing")


def _is_command(answer: Mapping[str, Any]) -> bool:
    """Whether the engine ran the statement, and its result is all that there is; a query is sent back to be run."""
    result = answer.get("sql_command_result")
    return result is not None and result.WhichOneof("rel_type") not in {"sql", "with_relations"}
