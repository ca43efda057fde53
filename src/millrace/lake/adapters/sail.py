"""The embedded Spark: Sail's Spark Connect server inside this process, spoken to by the real PySpark client.

The server listens on a random port of the loopback interface and knows no authentication: an engine is opened only in
a process that runs feature code, never in one that serves. Don't fork after it started.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.names import TableName
from millrace.lake.adapters.sail_moment import FUNCTIONS, moment
from millrace.lake.adapters.spark_client import close_session, open_session, read_delta
from millrace.lake.types import Location, Version

if TYPE_CHECKING:
    from pysail.spark import SparkConnectServer
    from pyspark.sql import DataFrame, SparkSession

    from millrace.lake.adapters.lake_session import LakeSession
    from millrace.lake.adapters.session_scope import Cut
    from millrace.lake.lake import Lake

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./:+-]+")
_MONTH_S = 30 * 24 * 3600


class SailEngine:
    """PySpark on Sail; the port's `SparkEngine`. Thread-safe; `at` lets one thread in at a time, in the whole process.

    Inside `at`, `current_date`, `curdate`, `current_timestamp`, `now` and `localtimestamp` mean its time, in SQL and in
    `pyspark.sql.functions`. `unix_timestamp()` without arguments stays the machine's time. A frame is lazy: what is to
    be computed at that time has to be computed before `at` ends.
    """

    def __init__(self, threads: int, lake: Lake | None = None) -> None:
        self._threads, self._lake = threads, lake
        self._lock = threading.RLock()
        self._server: SparkConnectServer | None = None
        self._session: LakeSession | None = None
        self._owner = 0
        self._links: tempfile.TemporaryDirectory[str] | None = None

    def session(self) -> LakeSession:
        """The session, the same each time until it is stopped; the server is started on first use.

        Raises:
            InvalidState: the server did not start.
        """
        with self._lock:
            if self._session is None or self._session.is_stopped:
                self._session = self._open(self._server or self._start())
            return self._session

    def read(self, location: Location, version: Version) -> DataFrame:
        """A lazy frame over one version of a Delta table."""
        return read_delta(self.session(), self._path(location), version)

    @contextmanager
    def at(self, now: object, tables: Mapping[TableName, DataFrame], cut: Cut | None = None) -> Iterator[SparkSession]:
        """The session at a time, with the frames readable by their names in `spark.table` and in SQL, and others by `cut`.

        Raises:
            InvalidInput: `now` is not a datetime.
            InvalidState: this thread is inside another `at`.
        """
        from datetime import datetime

        if not isinstance(now, datetime):
            raise InvalidInput(f"'{now}' is not a time", hint="give an aware datetime")
        session = self.session()
        with moment(utc(now)), session.scope(tables, cut):
            yield session

    def close(self) -> None:
        """Stop the session, then the server: the other way round the interpreter never exits. Idempotent."""
        with self._lock:
            if self._owner != os.getpid():
                return
            session, server, links = self._session, self._server, self._links
            self._session = self._server = self._links = None
            if session is not None:
                close_session(session)
            if server is not None:
                server.stop()
            if links is not None:
                links.cleanup()
            atexit.unregister(self.close)

    def _start(self) -> SparkConnectServer:
        self._set_environment()
        from pysail.spark import SparkConnectServer

        server = SparkConnectServer("127.0.0.1", 0)
        try:
            server.start(background=True)
        except RuntimeError as error:
            raise InvalidState(
                f"the embedded Spark engine did not start: {error}", hint="is a loopback port free?"
            ) from error
        self._server, self._owner = server, os.getpid()
        atexit.register(self.close)
        return server

    def _open(self, server: SparkConnectServer) -> LakeSession:
        host, port = server.listening_address or ("127.0.0.1", 0)
        # A server in this process is never away for a while. Once Ctrl-C has stopped it (Sail listens for that itself), the
        # client would go on trying for minutes: also at the end of a process whose session was not quite open.
        session = open_session(f"sc://{host}:{port}", lake=self._lake, read=self.read, clock_is_set=True, retries=False)
        for name, function, returns in FUNCTIONS:
            session.udf.register(name, function, returns)
        return session

    def _set_environment(self) -> None:
        os.environ.setdefault("RUST_LOG", "error")
        os.environ.setdefault("TOKIO_WORKER_THREADS", str(self._threads))
        os.environ.setdefault("SAIL_EXECUTION__DEFAULT_PARALLELISM", str(self._threads))
        # By statistics it takes a column of a Parquet file for constant that has NaN beside one number: those leave NaN out.
        os.environ.setdefault("SAIL_EXECUTION__COLLECT_STATISTICS", "false")
        # A session that idles for 15 minutes would be dropped.
        os.environ.setdefault("SAIL_SPARK__SESSION_TIMEOUT_SECS", str(_MONTH_S))

    def _path(self, location: Location) -> str:
        # Sail reads no Delta log under a path with a space or an umlaut in it: it is shown a plain link instead.
        if _PLAIN_PATH.fullmatch(location):
            return location
        with self._lock:
            if self._links is None:
                self._links = tempfile.TemporaryDirectory(prefix="millrace-")
            root = Path(self._links.name)
            link = root / hashlib.sha256(location.encode()).hexdigest()
            if not link.is_symlink():
                link.symlink_to(location, target_is_directory=True)
            return str(link)
