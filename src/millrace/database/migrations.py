"""From an empty database to today's schema, one numbered step at a time."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, insert, inspect, select, update

from millrace.core.errors import NewerHome
from millrace.database import schema

VERSION_KEY = "schema_version"


def _initial(connection: Connection) -> None:
    schema.METADATA.create_all(connection)


# Append only: the position in the list, from 1, is the schema version that the step leads to.
MIGRATIONS: list[Callable[[Connection], None]] = [_initial]


def migrate(connection: Connection) -> None:
    """Bring the database to the newest schema, inside the caller's transaction; does nothing where it is.

    Raises:
        NewerHome: the database was written by a newer millrace.
    """
    found = version(connection)
    if found > len(MIGRATIONS):
        raise NewerHome(
            f"this home has schema version {found}, and this millrace knows only {len(MIGRATIONS)}",
            hint="upgrade millrace, or use another home (--home, MILLRACE_HOME)",
            found=found,
            known=len(MIGRATIONS),
        )
    for step in MIGRATIONS[found:]:
        step(connection)
    _write_version(connection, found)


def version(connection: Connection) -> int:
    """The schema version of the database, 0 for an empty one."""
    if not inspect(connection).has_table(schema.settings.name):
        return 0
    query = select(schema.settings.c.value).where(schema.settings.c.key == VERSION_KEY)
    return int(connection.execute(query).scalar_one_or_none() or 0)


def _write_version(connection: Connection, found: int) -> None:
    if found == 0:
        connection.execute(insert(schema.settings).values(key=VERSION_KEY, value=len(MIGRATIONS)))
    elif found < len(MIGRATIONS):
        connection.execute(
            update(schema.settings).where(schema.settings.c.key == VERSION_KEY).values(value=len(MIGRATIONS))
        )
