"""A Spark cluster by its Spark Connect address. It has to see the warehouse under the same paths or URLs as we do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidState
from millrace.core.names import TableName
from millrace.lake.adapters.spark_client import close_session, open_session, read_delta
from millrace.lake.types import Location, Version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from millrace.lake.adapters.lake_session import LakeSession
    from millrace.lake.adapters.session_scope import Cut
    from millrace.lake.lake import Lake


class SparkConnectEngine:
    """PySpark on `sc://host:port`; the port's `SparkEngine`. Thread-safe.

    One thing a real Spark can't be given: `current_date` and its kin mean the cluster's own time. Inside `at` they are
    refused, with the hint to use `as_of`.

    Args:
        url: where Spark listens.
        lake: the tables of its session; without it, tables are read by Delta's own reader only.
    """

    def __init__(self, url: str, lake: Lake | None = None) -> None:
        self._url, self._lake = url, lake
        self._lock = threading.RLock()
        self._session: LakeSession | None = None

    def session(self) -> LakeSession:
        """The session, the same each time until it is stopped.

        Raises:
            InvalidState: nothing answers at the address.
        """
        with self._lock:
            if self._session is None or self._session.is_stopped:
                self._session = self._open()
            return self._session

    def read(self, location: Location, version: Version) -> DataFrame:
        """A lazy frame over one version of a Delta table, by Delta's reader where the cluster has it, else from its files.

        Raises:
            InvalidState: the cluster does not see the table's files.
        """
        session = self.session()
        if self._lake is None:
            return read_delta(session, location, version)
        from millrace.lake.adapters.spark_bridge import read_version

        with session.trusted():
            return read_version(session, self._lake.store, location, version)

    @contextmanager
    def at(self, now: object, tables: Mapping[TableName, DataFrame], cut: Cut | None = None) -> Iterator[SparkSession]:  # noqa: ARG002 - the port's: a real Spark's clock can't be set
        """The session with the frames readable by their names, and others by `cut`; asking for the cluster's clock is refused."""
        session = self.session()
        with session.scope(tables, cut):
            yield session

    def close(self) -> None:
        """Stop the session. Idempotent."""
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                close_session(session)

    def _open(self) -> LakeSession:
        from pyspark.errors import PySparkException

        try:
            return open_session(self._url, lake=self._lake, read=self.read, clock_is_set=False, retries=True)
        except PySparkException as error:
            raise InvalidState(
                f"no Spark at {self._url}: {error}",
                hint="set MILLRACE_SPARK_REMOTE to a Spark Connect address, or unset it",
            ) from error
