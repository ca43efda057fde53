"""A Spark cluster by its Spark Connect address. It has to see the warehouse under the same paths or URLs as we do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidState
from millrace.core.names import TableName
from millrace.lake.adapters.spark_client import close_session, open_session, read_delta, spellings
from millrace.lake.types import Location, Version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class SparkConnectEngine:
    """PySpark on `sc://host:port`; the port's `SparkEngine`. Thread-safe.

    Two things a real Spark can't be given: `current_date` and its kin mean the cluster's own time, so feature code must
    use `as_of`; and frames get names of one level only (`spark.table("transactions")`): other tables are read through
    the feature function's parameters.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.RLock()
        self._session: SparkSession | None = None

    def session(self) -> SparkSession:
        """The session, the same each time until `close`.

        Raises:
            InvalidState: nothing answers at the address.
        """
        with self._lock:
            if self._session is None:
                self._session = self._open()
            return self._session

    def read(self, location: Location, version: Version) -> DataFrame:
        """A lazy frame over one version of a Delta table."""
        return read_delta(self.session(), location, version)

    @contextmanager
    def at(self, now: object, tables: Mapping[TableName, DataFrame]) -> Iterator[SparkSession]:  # noqa: ARG002 - the port's: a real Spark's clock can't be set
        """The session with the frames of one-level names readable by them; its clock stays the cluster's."""
        session, shown = self.session(), []
        try:
            for name, frame in tables.items():
                for parts in spellings(name):
                    if len(parts) == 1:
                        frame.createOrReplaceTempView(parts[0])
                        shown.append(parts[0])
            yield session
        finally:
            for view in shown:
                session.catalog.dropTempView(view)

    def close(self) -> None:
        """Stop the session. Idempotent."""
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                close_session(session)

    def _open(self) -> SparkSession:
        from pyspark.errors import PySparkException

        try:
            return open_session(self._url)
        except PySparkException as error:
            raise InvalidState(
                f"no Spark at {self._url}: {error}",
                hint="set MILLRACE_SPARK_REMOTE to a Spark Connect address, or unset it",
            ) from error
