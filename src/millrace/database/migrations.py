"""From an empty database, or an older one, to today's schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, inspect, select, update

from millrace.core.errors import NewerHome
from millrace.database import schema

VERSION_KEY = "schema_version"

Step = Callable[[Connection], None]


def _add_feature_functions(connection: Connection) -> None:
    """2: feature functions with their versions, and named feature specs."""
    serial = "BIGSERIAL" if connection.dialect.name == "postgresql" else "INTEGER NOT NULL"
    connection.exec_driver_sql(
        f"CREATE TABLE feature_functions (id {serial} PRIMARY KEY, name VARCHAR(400) NOT NULL, version INTEGER NOT NULL, "
        "definition TEXT NOT NULL, description TEXT NOT NULL, owner VARCHAR(200) NOT NULL, created_us BIGINT NOT NULL, "
        "UNIQUE (name, version))"
    )
    connection.exec_driver_sql(
        "CREATE TABLE feature_specs (name VARCHAR(400) NOT NULL PRIMARY KEY, spec TEXT NOT NULL, "
        "description TEXT NOT NULL, owner VARCHAR(200) NOT NULL, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)"
    )


def _add_tokens(connection: Connection) -> None:
    """3: tokens with rights, beside the home's own."""
    serial = "BIGSERIAL" if connection.dialect.name == "postgresql" else "INTEGER NOT NULL"
    connection.exec_driver_sql(
        f"CREATE TABLE tokens (id {serial} PRIMARY KEY, name VARCHAR(64) NOT NULL, digest VARCHAR(64) NOT NULL, "
        "query TEXT NOT NULL, manage TEXT NOT NULL, owner VARCHAR(200) NOT NULL, created_us BIGINT NOT NULL, "
        "expires_us BIGINT, revoked_us BIGINT, UNIQUE (digest))"
    )
    connection.exec_driver_sql("CREATE UNIQUE INDEX ux_tokens_in_force ON tokens (name) WHERE revoked_us IS NULL")


def _add_canaries(connection: Connection) -> None:
    """4: what an endpoint served before, and how its canary goes."""
    for column in ("previous", "canary"):
        connection.exec_driver_sql(f"ALTER TABLE endpoints ADD COLUMN {column} TEXT")


# Append only. The first step leads from schema version 1 to 2, and so on. A new database gets today's schema at once, so
# each change to `schema.py` is made twice: there, and as a step here that brings older databases to the same state.
STEPS: Sequence[Step] = (_add_feature_functions, _add_tokens, _add_canaries)


def migrate(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Bring the database to the newest schema, inside the caller's transaction; does nothing where it is.

    Raises:
        NewerHome: the database was written by a newer millrace.
    """
    found, newest = version(connection), 1 + len(steps)
    if found == newest:
        return
    if found > newest:
        raise NewerHome(
            f"this home has schema version {found}, and this millrace knows only {newest}",
            hint="upgrade millrace, or use another home (--home, MILLRACE_HOME)",
            found=found,
            known=newest,
        )
    if found == 0:
        schema.METADATA.create_all(connection)
        connection.execute(insert(schema.settings).values(key=VERSION_KEY, value=newest))
        return
    for step in steps[found - 1 :]:
        step(connection)
    connection.execute(update(schema.settings).where(schema.settings.c.key == VERSION_KEY).values(value=newest))


def version(connection: Connection) -> int:
    """The schema version of the database, 0 for an empty one."""
    if not inspect(connection).has_table(schema.settings.name):
        return 0
    query = select(schema.settings.c.value).where(schema.settings.c.key == VERSION_KEY)
    return int(connection.execute(query).scalar_one_or_none() or 0)
