"""Homes of older versions come to today's tables, with what was in them, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, Engine, inspect, text

from millrace.database.engine import open_database
from millrace.database.migrations import STEPS, version
from millrace.database.settings import HomeSettings
from millrace.database.version import VERSION_KEY

if TYPE_CHECKING:
    from millrace.testing.postgres import PostgresServer


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """URLs of empty databases, of each kind."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return lambda _name: server.new_database()
    return lambda name: f"sqlite:///{tmp_path / name}.db"


def _described(connection: Connection, table: str) -> object:
    found = inspect(connection)
    columns = [(each["name"], str(each["type"]), each["nullable"]) for each in found.get_columns(table)]
    unique = [each["column_names"] for each in found.get_unique_constraints(table)]
    indexes = sorted((each["name"], each["column_names"], each["unique"]) for each in found.get_indexes(table))
    return columns, found.get_pk_constraint(table)["constrained_columns"], unique, indexes


_NEW_TABLES = (
    "feature_functions",
    "feature_specs",
    "tokens",
    "deliveries",
    "episode_notes",
    "alert_rules",
    "silences",
    "alert_channels",
    "task_values",
    "task_runs",
    "job_runs",
    "job_run_ids",
    "jobs",
    "job_ticks",
    "job_causes",
)
_FIRST_ALERTS = """
DROP INDEX ux_episodes_open;
DROP INDEX ix_episodes_owed;
DROP INDEX ix_outbox_episode;
ALTER TABLE episodes DROP COLUMN kind;
ALTER TABLE episodes DROP COLUMN owed;
ALTER TABLE episodes DROP COLUMN revision;
ALTER TABLE outbox DROP COLUMN episode_id;
CREATE UNIQUE INDEX ux_episodes_open ON episodes (rule, subject) WHERE status = 'open';
ALTER TABLE outbox ADD COLUMN sent_us BIGINT;
ALTER TABLE outbox ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN last_error TEXT;
CREATE INDEX ix_outbox_sent ON outbox (sent_us, id);
INSERT INTO episodes (rule, subject, status, began_us, opened_us, last_us, reason, data)
  VALUES ('churn', 'churn v1', 'open', 1, 2, 3, 'moved', '{"kinds": ["drift"]}');
INSERT INTO outbox (key, created_us, sent_us, payload)
  VALUES ('opened/a', 5, 6, '{"title": "t", "body": "b", "channels": ["slack://s3cret"], "data": {}}');
INSERT INTO outbox (key, created_us, payload)
  VALUES ('opened/b', 7, '{"title": "t", "body": "b", "channels": ["slack://s3cret", "json://other"], "data": {}}')
"""


def first_version(url: str) -> Engine:
    """A home as the first version of the schema made it, with an open episode and a notification that waits."""
    old = open_database(url)
    with old.begin() as connection:
        for table in _NEW_TABLES:
            connection.execute(text(f"DROP TABLE {table}"))
        for column in ("previous", "canary"):
            connection.execute(text(f"ALTER TABLE endpoints DROP COLUMN {column}"))
        for statement in _FIRST_ALERTS.split(";\n"):
            connection.exec_driver_sql(statement)
    HomeSettings(old).set(VERSION_KEY, 1)
    old.dispose()
    return open_database(url)


def test_a_home_of_the_first_version_comes_to_todays_tables(new_url: Callable[[str], str]) -> None:
    new, old = open_database(new_url("new")), first_version(new_url("old"))
    with new.connect() as fresh, old.connect() as upgraded:
        assert version(upgraded) == version(fresh) == 1 + len(STEPS)
        for table in (*_NEW_TABLES, "endpoints", "episodes", "outbox"):
            assert _described(upgraded, table) == _described(fresh, table)
    new.dispose()
    old.dispose()


def test_what_waited_in_an_older_homes_outbox_still_goes_out_and_urls_have_names(new_url: Callable[[str], str]) -> None:
    old = first_version(new_url("old"))
    with old.connect() as connection:
        waiting = connection.execute(text("SELECT channel, status, next_us FROM deliveries ORDER BY id")).all()
        urls = {row.name: row.url for row in connection.execute(text("SELECT name, url FROM alert_channels"))}
        payloads = connection.execute(text("SELECT payload FROM outbox")).scalars().all()
        kinds = connection.execute(text("SELECT kind, owed, revision FROM episodes")).all()
    assert [(urls[row.channel], row.status, row.next_us) for row in waiting] == [
        ("slack://s3cret", "waiting", 7),
        ("json://other", "waiting", 7),
    ]
    assert "s3cret" not in "".join(payloads)
    assert [tuple(row) for row in kinds] == [("drift", "", 0)]
    old.dispose()
