"""A home as a serving process has it: few parts, read only, and without SQLAlchemy where the database is a file.

There is one such process for each core: what it imports, it imports that often.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.settings import Settings
from millrace.database.clock import HomeTime
from millrace.database.reading import DatabaseReader, reader
from millrace.workspace.place import PLACE, refuse_moved
from millrace.workspace.stores import online_store
from millrace.workspace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from millrace.access.port import TokenReader
    from millrace.features.port import OnlineStore
    from millrace.serving.port import EndpointReader


# Where nobody says whether something was written, all is read again this often.
_READ_EVERY_S = 10.0


@dataclass(frozen=True)
class ServingHome:
    """One home, opened to serve.

    Attributes:
        changes: a number that is another one when something was written that is read here; every ten seconds, where that is not known.
        has_job_work: whether jobs need a scheduler.
        close: idempotent.
    """

    settings: Settings
    clock: HomeTime
    endpoints: EndpointReader
    tokens: TokenReader
    online: OnlineStore
    changes: Callable[[], int]
    has_job_work: Callable[[], bool]
    close: Callable[[], None]

    @property
    def capture_root(self) -> Path:
        """Where workers write what they served, before it is drained into the lake."""
        return self.settings.home / "capture"

    @property
    def proofs_root(self) -> Path:
        """Where is kept which predict path each served model may take."""
        return self.settings.home / "serving"


def open_serving_home(home: str | Path) -> ServingHome:
    """Open a home, making or migrating it where that is needed.

    Raises:
        MillraceError: as `open_workspace`.
    """
    settings = Settings.load(home)
    database = _reader(settings)
    if database is None:
        workspace = open_workspace(home)
        database = _reader(settings)  # a file is one of today's schema now
        if database is None:
            return _whole(settings, workspace)
        workspace.close()
    return _light(settings, database)


def _reader(settings: Settings) -> DatabaseReader | None:
    database = reader(settings.database_url)
    if database is not None and database.get(PLACE) is None:
        database.close()
        return None
    return database


def _whole(settings: Settings, workspace: Workspace) -> ServingHome:
    from millrace.jobs.schedules.work import has_work

    return ServingHome(
        settings,
        workspace.clock,
        workspace.endpoints,
        workspace.tokens,
        workspace.online,
        lambda: int(time.monotonic() / _READ_EVERY_S),
        lambda: has_work(workspace.jobs),
        workspace.close,
    )


def _light(settings: Settings, database: DatabaseReader) -> ServingHome:
    from millrace.access.adapters.sqlite_tokens import SqliteTokenReader
    from millrace.jobs.adapters.sqlite_work import has_work
    from millrace.serving.adapters.sqlite_endpoints import SqliteEndpointReader

    try:
        refuse_moved(settings, database.get(PLACE))
    except BaseException:
        database.close()
        raise
    online = online_store(settings)

    def close() -> None:
        online.close()
        database.close()

    endpoints, tokens = SqliteEndpointReader(database), SqliteTokenReader(database)
    clock, has_job_work = HomeTime(database), partial(has_work, database)
    return ServingHome(settings, clock, endpoints, tokens, online, database.changes, has_job_work, close)
