"""Inserts that meet a row of the same key, the same in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(connection: Connection, table: Table, row: Mapping[str, object]) -> Any:
    """Insert the row and return its first column (the id); where it meets a unique key, do nothing and return None."""
    statement = _insert(connection, table).values(dict(row)).on_conflict_do_nothing()
    return connection.execute(statement.returning(next(iter(table.c)))).scalar_one_or_none()


def put(
    connection: Connection, table: Table, row: Mapping[str, object], *, only_where: ColumnElement[bool] | None = None
) -> bool:
    """Insert the row, or replace the one with its primary key; `only_where` limits what may be replaced. True where written."""
    statement = _insert(connection, table).values(dict(row))
    keys = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in row if name not in keys}
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changes, where=only_where)
    return connection.execute(statement.returning(table.c[keys[0]])).scalar_one_or_none() is not None


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
