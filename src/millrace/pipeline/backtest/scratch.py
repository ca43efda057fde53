"""The home that a backtest works in: it reads the same source tables where they are, and makes its own features and labels."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from sqlalchemy import insert, select

from millrace.core.names import TableName
from millrace.database import schema
from millrace.database.engine import open_database
from millrace.pipeline.audit.scratch import copy_facts


def fill_home(folder: Path, database_url: str, computed: Collection[TableName]) -> None:
    """Make the databases of a scratch home in an empty folder.

    Args:
        folder: where.
        database_url: of the workspace; nothing in it changes.
        computed: the pipeline's own tables, which the backtest makes anew. All others are entered with the place where they
            lie: nothing in a backtest writes to them.
    """
    own_url = f"sqlite:///{folder / 'millrace.db'}"
    open_database(own_url).dispose()
    copy_facts(database_url, own_url)
    source, own = open_database(database_url), open_database(own_url)
    try:
        with source.connect() as there, own.begin() as here:
            found = [dict(row) for row in there.execute(select(schema.tables)).mappings()]
            kept = [row for row in found if TableName(row["catalog"], row["schema"], row["name"]) not in computed]
            if kept:
                here.execute(insert(schema.tables), kept)
    finally:
        source.dispose()
        own.dispose()
