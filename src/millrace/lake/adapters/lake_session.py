"""A PySpark session in which the tables of a workspace are there by name, on whichever engine."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.dataframe import DataFrame  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.readwriter import DataFrameReader  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.session import SparkSession  # noqa: TID253 - this is its adapter

from millrace.core.clock import parse_time, utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.lake.adapters.lake_catalog import LakeCatalog
from millrace.lake.adapters.lake_client import LakeClient
from millrace.lake.adapters.lake_reader import LakeReader
from millrace.lake.adapters.lake_sql import run_sql
from millrace.lake.adapters.lake_writes import intercept
from millrace.lake.adapters.plan_guard import Guard, reads_of
from millrace.lake.adapters.session_scope import Cut, Scope, check_thread, current, refuse, scoped, trusted
from millrace.lake.frames import to_arrow
from millrace.lake.lake import Lake
from millrace.lake.types import Location, TableEntry, TableVersion, Version

if TYPE_CHECKING:
    from pyspark.sql.connect.streaming.readwriter import DataStreamReader

Read = Callable[[Location, Version], Any]


class LakeSession(SparkSession):  # type: ignore[misc]  # pyspark is untyped
    """PySpark's Connect session; what it adds is said at each method. Thread-safe as PySpark's is.

    Tables of the workspace are found by one, two or three-level names, before anything of that name on the cluster, and are read at the
    version that they have when they are looked up: a frame that was made stays at its version.

    Args:
        url: Spark Connect address.
        lake: the workspace's tables; None: there are none, but for those that `scope` is given.
        read: makes a frame of one version of a Delta table.
        clock_is_set: whether inside `scope` the engine's `current_date` means the scope's time.
        retries: whether to go on trying, for minutes, where the engine does not answer.
    """

    def __init__(
        self, url: str, *, lake: Lake | None = None, read: Read, clock_is_set: bool, retries: bool = True
    ) -> None:
        client = LakeClient(connection=url)
        if not retries:
            client.set_retry_policies([])
        self._attach(client, lake, read, clock_is_set=clock_is_set)
        self._owns_client = True
        self.outer_views: set[str] = set()
        self._reads: dict[int, TableVersion] = {}
        client.look = self._look
        client.intercept = functools.partial(intercept, self)

    def _attach(self, client: LakeClient, lake: Lake | None, read: Read, *, clock_is_set: bool) -> None:
        self._client = client
        self._session_id = client._session_id  # noqa: SLF001 - as PySpark's own session does
        self.release_session_on_close = True
        self.lake, self._read, self._clock_is_set = lake, read, clock_is_set
        self._as_of: datetime | None = None
        self._versions: Mapping[TableName, int] = {}

    def pinned(
        self, as_of: datetime | None = None, versions: Mapping[str | TableName, int] | None = None
    ) -> LakeSession:
        """The same session with all its reads pinned: to versions, and else to what was committed at or before a time.

        Frames of both can be joined. Closing it does nothing: the session that it comes from stays open.

        Raises:
            NotFound: a table that is pinned to a version does not exist.
            InvalidInput: inside a feature function, whose run pins what is read.
        """
        if current() is not None:
            raise refuse("pin what it reads", "the run does: `millrace run --as-of` and `--table-version`")
        other = object.__new__(LakeSession)
        other._attach(self._client, self.lake, self._read, clock_is_set=self._clock_is_set)
        other._owns_client, other.outer_views, other._reads = False, self.outer_views, self._reads
        other._as_of = None if as_of is None else utc(as_of)
        other._versions = {self._known(name): version for name, version in (versions or {}).items()}
        return other

    def _known(self, name: str | TableName) -> TableName:
        return TableName.parse(name) if self.lake is None else self.lake.entry(name).name

    @property
    def read(self) -> DataFrameReader:
        """A reader whose `table` knows the workspace's tables, with `versionAsOf` and `timestampAsOf` (by the Clock) as options."""
        return LakeReader(self)

    @property
    def readStream(self) -> DataStreamReader:  # noqa: N802 - PySpark's name
        """PySpark's; not inside feature functions."""
        if current() is not None:
            raise refuse("read a stream", "read tables")
        return super().readStream

    @property
    def catalog(self) -> Any:
        """The workspace's tables, and PySpark's temporary views and functions."""
        return LakeCatalog(self)

    def sql(self, sqlQuery: str, args: Any = None, **kwargs: Any) -> Any:  # noqa: N803 - PySpark's name
        """PySpark's, with the workspace's tables by name; statements that change tables go through the lake's writer.

        Raises:
            InvalidInput: a change to a table that the lake has no writer for (MERGE, UPDATE, ALTER).
        """
        return run_sql(self, sqlQuery, args, kwargs)

    def createDataFrame(self, data: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - PySpark's name
        """PySpark's, which takes a Polars frame, too, anything else with `__arrow_c_stream__`, and Arrow tables without rows."""
        known = type(data).__module__.partition(".")[0] in {"pandas", "pyarrow", "numpy", "builtins"}
        if not known and (hasattr(data, "__arrow_c_stream__") or type(data).__name__ == "LazyFrame"):
            data = to_arrow(data)
        if type(data).__name__ == "Table" and not len(data) and not args and not kwargs:
            from pyspark.sql.pandas.types import from_arrow_schema

            return super().createDataFrame(data, from_arrow_schema(data.schema))
        return super().createDataFrame(data, *args, **kwargs)

    def entry(self, parts: tuple[str, ...]) -> TableEntry | None:
        """The workspace's table of that name; None where there is none."""
        name = _table_name(parts)
        return None if name is None or self.lake is None else self.lake.catalog.find(name)

    def named(self, parts: tuple[str, ...], version: int | None = None, time: str | None = None) -> Any:
        """A frame over the table of that name, pinned as asked; None where the workspace has none of that name.

        Raises:
            NotFound: there was no such version, or none yet at that time.
            InvalidInput: inside a feature function, which reads what its run pins.
        """
        scope = current()
        if scope is not None:
            return self._cut(scope, parts, is_pinned=version is not None or time is not None)
        check_thread()
        if len(parts) == 1 and parts[0].lower() in self.outer_views:
            return None  # as everywhere in Spark, a temporary view comes before a table
        entry = self.entry(parts)
        if entry is None or self.lake is None:
            return None
        versions = self._versions if version is None else {entry.name: version}
        pin = self.lake.pin(entry.name, self._as_of if time is None else parse_time(time), versions)
        frame = self._read(entry.location, pin.version)
        self._reads.update(dict.fromkeys(reads_of(frame), pin))
        return DataFrame(frame._plan, self)  # noqa: SLF001 - made by the session that this one is pinned from

    def tables_read(self, frame: DataFrame) -> tuple[TableVersion, ...]:
        """The workspace's tables that a frame reads, and at which versions; not those behind a temporary view or a cache."""
        found = (self._reads.get(number) for number in reads_of(frame))
        return tuple(dict.fromkeys(sorted((pin for pin in found if pin), key=str)))

    def _cut(self, scope: Scope, parts: tuple[str, ...], *, is_pinned: bool) -> Any:
        if is_pinned:
            raise refuse("choose a table's version", "the run does: `millrace run --table-version`")
        name = _table_name(parts)
        if len(parts) == 1 and parts[0].lower() in scope.views:
            return None
        if name is None:
            raise refuse(f"read {'.'.join(parts)}", "read tables of the workspace by their names")
        if scope.session.client is not self._client:
            raise refuse("read through the session of another home", "call millrace.spark() inside the function")
        return scope.table(name)

    @contextmanager
    def scope(self, given: Mapping[TableName, Any], cut: Cut | None) -> Iterator[None]:
        """Let names mean `given`, and else what `cut` gives, in this thread, whose active session this is meanwhile.

        Temporary views that are made inside are gone afterwards.

        Raises:
            InvalidState: this thread is inside another scope.
        """
        scope = Scope(self, given, cut, Guard(self._clock_is_set))
        try:
            with scoped(scope), self._active():
                yield
        finally:
            self._drop_views(scope.views)

    @contextmanager
    def _active(self) -> Iterator[None]:
        active = SparkSession._active_session  # noqa: SLF001 - PySpark sets it only where there is none yet
        before = getattr(active, "session", None)
        active.session = self
        try:
            yield
        finally:
            active.session = before

    def trusted(self) -> AbstractContextManager[None]:
        """Lets the engine read files, also where a feature function may not."""
        return trusted()

    def cloneSession(self, new_session_id: str | None = None) -> SparkSession:  # noqa: N802 - PySpark's name
        """PySpark's, without the workspace's tables; not inside feature functions."""
        if current() is not None:
            raise refuse("clone its session", "use the session as it is")
        return super().cloneSession(new_session_id)

    def stop(self) -> None:
        """PySpark's; nothing for a session that is pinned from another. The engine opens a new one when it is asked again."""
        if current() is not None:
            raise refuse("stop its session", "leave it open: the run closes it")
        if self._owns_client:
            super().stop()

    def __del__(self) -> None:
        if self.__dict__.get("_owns_client"):  # it may never have got that far
            super().__del__()

    def _look(self, message: Any) -> None:
        scope = current()
        if scope is not None:
            scope.guard.check(message)

    def _drop_views(self, views: set[str]) -> None:
        # The server may be gone, and its views with it: what ended it is what must be told.
        with suppress(PySparkException):
            for view in views:
                super().catalog.dropTempView(view)


def open_lake_session(url: str, **options: Any) -> LakeSession:
    """A new session, which `SparkSession.builder.getOrCreate()` and `getActiveSession()` find."""
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
    session = LakeSession(url, **options)
    SparkSession._set_default_and_active_session(session)  # noqa: SLF001 - as PySpark's builder does
    return session


def _table_name(parts: tuple[str, ...]) -> TableName | None:
    with suppress(InvalidInput):
        return TableName.parse(".".join(parts)) if all("." not in part for part in parts) else None
    return None
