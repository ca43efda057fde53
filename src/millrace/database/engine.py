"""Opening the workspace database: SQLite in the home, or PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

from millrace.core.errors import InvalidState, UsageError
from millrace.database.migrations import migrate

_BUSY_TIMEOUT_MS = 30_000
_MIGRATION_LOCK = 7_355_608  # any fixed number: PostgreSQL's advisory lock for "migrating"


def open_database(url: str) -> Engine:
    """Connect and migrate. Safe to call from many processes at once: one migrates, the others wait.

    Raises:
        UsageError: the URL is not one of SQLite or PostgreSQL.
        InvalidState: the database can't be reached or opened.
        NewerHome: it was written by a newer millrace.
    """
    engine = _engine(_parse(url))
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            migrate(connection)
    except DBAPIError as error:
        engine.dispose()
        raise _unopened(engine.url, str(error.orig)) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError("the database URL can't be read", hint=_FORMS) from error
    name = parsed.get_backend_name()
    if name == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if name != "sqlite":
        raise UsageError(f"a workspace can't live in a database of kind '{name}'", hint=_FORMS)
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    try:
        return create_engine(url, pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise InvalidState(
            "the driver for PostgreSQL is not installed", hint="install the extra: millrace[postgres]"
        ) from error


def _sqlite(url: URL) -> Engine:
    options: dict[str, Any] = {}
    if url.database in (None, "", ":memory:"):
        options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    else:
        try:
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unopened(url, str(error)) from error
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    # Transactions are ours to begin: the driver's own would take a read lock first and fail on upgrade.
    connection.isolation_level = None
    for pragma in (f"busy_timeout={_BUSY_TIMEOUT_MS}", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    _use_wal(connection)


def _use_wal(connection: Any) -> None:
    # Of two who switch a new file at once SQLite refuses one without waiting, whatever the busy timeout says.
    until = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if not connection.get_execution_options().get("read_only") else "BEGIN"
    )


def _unopened(url: URL, reason: str) -> InvalidState:
    shown = url.render_as_string(hide_password=True)
    return InvalidState(
        f"the workspace database {shown} can't be opened: {reason.strip()}",
        hint="check MILLRACE_DATABASE_URL and the home's rights",
        url=shown,
    )


_FORMS = "write sqlite:///path/to/file.db or postgresql://user@host/name"
