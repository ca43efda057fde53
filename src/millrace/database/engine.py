"""Opening the workspace database: SQLite in the home, or PostgreSQL by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from millrace.core.errors import InvalidState
from millrace.database.migrations import migrate

_BUSY_TIMEOUT_MS = 30_000
_MIGRATION_LOCK = 7_355_608  # any fixed number: PostgreSQL's advisory lock for "migrating"


def open_database(url: str) -> Engine:
    """Connect and migrate. Safe to call from many processes at once: one migrates, the others wait.

    Raises:
        InvalidState: the database can't be reached or opened.
        NewerHome: it was written by a newer millrace.
    """
    engine = _sqlite(url) if url.startswith("sqlite") else create_engine(_driver(url), pool_pre_ping=True)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            migrate(connection)
    except OperationalError as error:
        shown = make_url(url).render_as_string(hide_password=True)
        raise InvalidState(
            f"the workspace database {shown} can't be opened: {error.orig}",
            hint="check MILLRACE_DATABASE_URL and the home's rights",
        ) from error
    return engine


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _sqlite(url: str) -> Engine:
    path = make_url(url).database
    if path in (None, "", ":memory:"):
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        Path(str(path)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    # Transactions are ours to begin: the driver's own would take a read lock first and fail on upgrade.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", f"busy_timeout={_BUSY_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if not connection.get_execution_options().get("read_only") else "BEGIN"
    )
