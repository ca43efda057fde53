"""A scratch home: the same tables under the same names, in files that may be changed, and that are gone afterwards.

Delta never changes a data file, so the copies are links to the same files wherever the file system has links.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select

from millrace.core.names import TableName
from millrace.database import schema
from millrace.database.engine import open_database
from millrace.lake.lake import Lake
from millrace.lake.types import Location
from millrace.pipeline.audit.alter import Change, changed
from millrace.pipeline.audit.job import Job
from millrace.pipeline.audit.rules import TableRule

# What happened in a home, and what runs in it, is not part of what its tables say.
_LEFT_OUT = frozenset(
    [
        "events",
        "runs",
        "stage_runs",
        "leases",
        "promotions",
        "endpoints",
        "tables",
        "episodes",
        "episode_notes",
        "outbox",
        "deliveries",
        "alert_rules",
        "alert_channels",
        "silences",
        "jobs",
        "job_run_ids",
        "job_runs",
        "task_runs",
        "task_values",
    ]
)
_PLACE = "home"  # the setting that says where a home was made
_LOG = "_delta_log"


def copy_facts(database_url: str, own_url: str) -> None:
    """Copy settings (the home's clock among them) and all that is kept beside tables, before the scratch home is opened."""
    source, own = open_database(database_url), open_database(own_url)
    try:
        with source.connect() as there, own.begin() as here:
            for table in schema.METADATA.sorted_tables:
                if table.name not in _LEFT_OUT:
                    _copy_rows(there, here, table)
    finally:
        source.dispose()
        own.dispose()


def copy_tables(lake: Lake, database_url: str, own_url: str) -> None:
    """Copy all tables of a workspace, with their versions, into the empty lake of a scratch home.

    Args:
        lake: of the scratch home.
        database_url: of the workspace that is copied; nothing in it changes.
        own_url: of the scratch home.
    """
    source, own = open_database(database_url), open_database(own_url)
    try:
        with source.connect() as there:
            entries = there.execute(select(schema.tables)).all()
        for entry in entries:
            location = _copy_files(lake, entry)
            if location is None:
                continue
            with own.begin() as here:
                here.execute(insert(schema.tables).values({**_columns(entry), "location": location}))
    finally:
        source.dispose()
        own.dispose()


def change_tables(lake: Lake, rules: Sequence[TableRule], job: Job) -> None:
    """Make the job's change in each table of the rules, as a new version committed now."""
    for rule in rules:
        if concerns(rule, job.change):
            rows = lake.read(rule.name)
            lake.overwrite(rule.name, changed(rows, rule, job.change, job.cut), why=f"audit: {job.change}")


def concerns(rule: TableRule, change: Change) -> bool:
    """Whether a change does anything to a table: the future needs a time, and what has one is not changed as a whole."""
    return change == "shuffled" or (change != "none" and rule.is_timed != (change == "whole"))


def _copy_rows(there: Connection, here: Connection, table: Table) -> None:
    rows = [_columns(row) for row in there.execute(select(table))]
    if table.name == schema.settings.name:
        known = {key for (key,) in here.execute(select(schema.settings.c.key))}
        rows = [row for row in rows if row["key"] not in known | {_PLACE}]
    if rows:
        here.execute(insert(table), rows)


def _copy_files(lake: Lake, entry: Row[Any]) -> str | None:
    """Where the copy is; None where there is nothing to copy."""
    to, source = Path(lake.warehouse) / entry.catalog / entry.schema / entry.name, Path(entry.location)
    if source.is_dir():
        # The log first: what it names was written before it. It is copied, for parts of it are written over.
        _copy_tree(source / _LOG, to / _LOG, link=False)
        _copy_tree(source, to, link=True)
        return str(to)
    return _copy_from_far(lake, entry, to) if "://" in entry.location else None


def _copy_tree(source: Path, to: Path, *, link: bool) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for child in sorted(source.iterdir()):
        if child.is_dir():
            if child.name != _LOG:
                _copy_tree(child, to / child.name, link=link)
            continue
        with suppress(FileNotFoundError):  # vacuumed in between: no version that is read needs it
            _copy_file(child, to / child.name, link=link)


def _copy_file(source: Path, to: Path, *, link: bool) -> None:
    if link:
        try:
            os.link(source, to)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links
            pass
        else:
            return
    shutil.copy2(source, to)


def _copy_from_far(lake: Lake, row: Row[Any], to: Path) -> str:
    """A table on an object store: its newest version only."""
    rows = lake.store.read(Location(row.location))
    name = TableName(row.catalog, row.schema, row.name)
    lake.create(name, rows.schema)
    lake.append(name, rows, why="audit: a copy")
    lake.catalog.remove(name)
    return str(to)


def _columns(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
