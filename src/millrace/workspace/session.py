"""`millrace.spark()`: a PySpark session over the tables of a home."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from millrace.core.clock import parse_time
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.core.settings import Settings
from millrace.workspace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from millrace.lake.adapters.lake_session import LakeSession

_lock = threading.Lock()
_kept: dict[Settings, Workspace] = {}


def spark(
    *,
    home: str | Path | None = None,
    as_of: datetime | str | None = None,
    versions: Mapping[str | TableName, int] | None = None,
) -> SparkSession:
    """A PySpark session in which all tables of a home are there by one, two or three-level names.

    It is Sail inside this process, or the Spark Connect endpoint that `MILLRACE_SPARK_REMOTE` names: one per process and
    home, the same each time. Inside a feature function it is the session that runs it, in which each table ends at the
    function's time.

    Args:
        home: the home; None: `MILLRACE_HOME`, else `./.millrace`. Inside a feature function it is the run's.
        as_of: pin all reads to what was committed at or before this time, by the Clock; an aware datetime or ISO text.
        versions: pin tables to versions, by name; these win over `as_of`. With either, the session that comes back is
            another object of the same session, and only its reads are pinned: frames of both can be joined.

    Raises:
        InvalidState: the home can't be opened, or Spark does not answer.
        NotFound: a table in `versions` does not exist.
        InvalidInput: pins inside a feature function, whose run pins what is read.
    """
    from millrace.lake.adapters.session_scope import running_session

    session = running_session()
    if session is None:
        session = _workspace(home).spark.session()
    elif home is not None:
        raise InvalidInput(
            "a feature function can't open a home: it runs in one", hint="call millrace.spark() without home="
        )
    if as_of is None and not versions:
        return session
    time = parse_time(as_of) if isinstance(as_of, str) else as_of
    return cast("LakeSession", session).pinned(time, versions)


def _workspace(home: str | Path | None) -> Workspace:
    settings = Settings.load(home)
    with _lock:
        if settings not in _kept:
            _kept[settings] = open_workspace(home)
        return _kept[settings]
