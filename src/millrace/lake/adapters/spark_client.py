"""What the PySpark client needs of this process, whichever engine is behind it."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from millrace.lake.types import Version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from millrace.lake.adapters.lake_session import LakeSession, Read
    from millrace.lake.lake import Lake


def open_session(url: str, *, lake: Lake | None = None, read: Read, clock_is_set: bool, retries: bool) -> LakeSession:
    """A new session, in UTC. `SparkSession.builder.getOrCreate()` in feature code finds it. Arguments: see `LakeSession`.

    The whole process is set to UTC: `collect()` gives naive times in the process's own zone.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()
    # pyspark-client 4.2 has not yet declared its support for pandas 3.
    warnings.filterwarnings("ignore", message=".*PySpark does not yet fully support pandas", category=FutureWarning)
    # A parent process's engine, inherited: not ours.
    os.environ.pop("SPARK_REMOTE", None)
    with _main_module_with_a_file():
        from millrace.lake.adapters.lake_session import open_lake_session

        session = open_lake_session(url, lake=lake, read=read, clock_is_set=clock_is_set, retries=retries)
    session.conf.set("spark.sql.session.timeZone", "UTC")
    os.environ["SPARK_REMOTE"] = url
    return session


@contextmanager
def _main_module_with_a_file() -> Iterator[None]:
    # In a program without a file (`python -c`, `python -`) the client believes to be in its own tests, and exits.
    main = sys.modules["__main__"]
    if hasattr(main, "__file__") or main.__spec__ is not None:
        yield
        return
    main.__file__ = "<command>"
    try:
        yield
    finally:
        del main.__file__


def close_session(session: SparkSession) -> None:
    """Stop the session and forget its address."""
    session.stop()
    os.environ.pop("SPARK_REMOTE", None)


def read_delta(session: SparkSession, path: str, version: Version) -> DataFrame:
    """A lazy frame over one version of a Delta table."""
    from pyspark.sql.connect.readwriter import DataFrameReader

    # PySpark's own reader: that of a session refuses paths while a feature function runs.
    reader = DataFrameReader(cast("Any", session)).format("delta").option("versionAsOf", int(version))
    return cast("DataFrame", reader.load(path))
