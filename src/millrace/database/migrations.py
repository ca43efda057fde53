"""From an empty database, or an older one, to today's schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, inspect, select, update

from millrace.core.errors import NewerHome
from millrace.database import schema
from millrace.database.version import VERSION_KEY

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


def _add_alerts(connection: Connection) -> None:
    """5: rules, silences, channels by name, an episode's kind and history, and each channel's delivery of a notification."""
    serial, number = (
        ("BIGSERIAL", "BIGINT") if connection.dialect.name == "postgresql" else ("INTEGER NOT NULL", "INTEGER")
    )
    for statement in _ALERTS.format(serial=serial, number=number).split(";"):
        connection.exec_driver_sql(statement)
    kinds = connection.execute(select(schema.episodes.c.id, schema.episodes.c.data)).all()
    for row in kinds:
        kind = str(next(iter((row.data or {}).get("kinds") or []), ""))
        connection.execute(update(schema.episodes).where(schema.episodes.c.id == row.id).values(kind=kind))
    waiting = connection.exec_driver_sql("SELECT id, created_us FROM outbox WHERE sent_us IS NULL ORDER BY id").all()
    found = connection.execute(select(schema.outbox.c.id, schema.outbox.c.payload))
    payloads = {row.id: row.payload for row in found}
    urls: dict[str, str] = {}
    for row in waiting:
        for url in payloads[row.id]["channels"]:
            name = urls.setdefault(url, f"channel-{len(urls) + 1}")
            delivery = {
                "outbox_id": row.id,
                "channel": name,
                "status": "waiting",
                "attempts": 0,
                "next_us": row.created_us,
            }
            connection.execute(insert(schema.deliveries).values(delivery))
    for url, name in urls.items():
        channel = {"name": name, "url": url, "owner": "system:alerts", "created_us": waiting[0].created_us}
        connection.execute(insert(schema.alert_channels).values(channel))
    for each, payload in payloads.items():
        named = [urls.get(url, "a channel of before") for url in payload["channels"]]  # no URL stays here
        connection.execute(
            update(schema.outbox).where(schema.outbox.c.id == each).values(payload={**payload, "channels": named})
        )
    connection.exec_driver_sql("DROP INDEX ix_outbox_sent")
    for column in ("sent_us", "attempts", "last_error"):
        connection.exec_driver_sql(f"ALTER TABLE outbox DROP COLUMN {column}")


_ALERTS = """
ALTER TABLE episodes ADD COLUMN kind VARCHAR(40) NOT NULL DEFAULT '';
ALTER TABLE episodes ADD COLUMN owed VARCHAR(20) NOT NULL DEFAULT '';
ALTER TABLE episodes ADD COLUMN revision INTEGER NOT NULL DEFAULT '0';
DROP INDEX ux_episodes_open;
CREATE UNIQUE INDEX ux_episodes_open ON episodes (rule, subject, kind) WHERE status = 'open';
CREATE INDEX ix_episodes_owed ON episodes (owed, id);
CREATE TABLE episode_notes (id {serial} PRIMARY KEY, episode_id {number} NOT NULL REFERENCES episodes (id),
  key VARCHAR(300) NOT NULL, at_us BIGINT NOT NULL, by VARCHAR(200) NOT NULL, text TEXT NOT NULL, UNIQUE (episode_id, key));
ALTER TABLE outbox ADD COLUMN episode_id {number} NOT NULL DEFAULT '0';
CREATE INDEX ix_outbox_episode ON outbox (episode_id, id);
CREATE TABLE deliveries (id {serial} PRIMARY KEY, outbox_id {number} NOT NULL REFERENCES outbox (id),
  channel VARCHAR(200) NOT NULL, status VARCHAR(20) NOT NULL, attempts INTEGER NOT NULL, next_us BIGINT NOT NULL,
  sent_us BIGINT, last_error TEXT, UNIQUE (outbox_id, channel));
CREATE INDEX ix_deliveries_status ON deliveries (status, id);
CREATE TABLE alert_rules (name VARCHAR(200) NOT NULL PRIMARY KEY, definition TEXT NOT NULL, owner VARCHAR(200) NOT NULL,
  pipeline VARCHAR(200), created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, mute TEXT, state TEXT);
CREATE TABLE silences (id {serial} PRIMARY KEY, matchers TEXT NOT NULL, starts_us BIGINT NOT NULL, ends_us BIGINT NOT NULL,
  reason TEXT NOT NULL, by VARCHAR(200) NOT NULL, created_us BIGINT NOT NULL);
CREATE INDEX ix_silences_ends ON silences (ends_us);
CREATE TABLE alert_channels (name VARCHAR(200) NOT NULL PRIMARY KEY, url TEXT NOT NULL, owner VARCHAR(200) NOT NULL,
  created_us BIGINT NOT NULL)
"""


def _add_jobs(connection: Connection) -> None:
    """6: jobs, their runs with the attempts of their tasks, and what tasks tell each other."""
    numbered = "BIGSERIAL PRIMARY KEY" if connection.dialect.name == "postgresql" else _NEVER_AGAIN
    for statement in _JOBS.format(numbered=numbered).split(";"):
        connection.exec_driver_sql(statement)


_NEVER_AGAIN = "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"
_JOBS = """
CREATE TABLE jobs (id {numbered}, name VARCHAR(200) NOT NULL, settings TEXT NOT NULL, owner VARCHAR(200) NOT NULL,
  created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, UNIQUE (name));
CREATE TABLE job_run_ids (id {numbered}, of VARCHAR(200) NOT NULL);
CREATE TABLE job_runs (id BIGINT NOT NULL PRIMARY KEY, job_id BIGINT NOT NULL, job VARCHAR(200) NOT NULL,
  token VARCHAR(300) NOT NULL, number INTEGER NOT NULL, trigger VARCHAR(20) NOT NULL, due_us BIGINT,
  parameters TEXT NOT NULL, settings TEXT NOT NULL, state VARCHAR(20) NOT NULL, result VARCHAR(20), message TEXT NOT NULL,
  created_us BIGINT NOT NULL, started_us BIGINT, ended_us BIGINT, by VARCHAR(200) NOT NULL, repairs INTEGER NOT NULL,
  caller BIGINT, deadline_us BIGINT, stop_as VARCHAR(20), UNIQUE (job, token), UNIQUE (job, number));
CREATE INDEX ix_job_runs_state ON job_runs (state, job, id);
CREATE INDEX ix_job_runs_job ON job_runs (job, id);
CREATE TABLE task_runs (id BIGINT NOT NULL PRIMARY KEY, run_id BIGINT NOT NULL REFERENCES job_runs (id),
  task_key VARCHAR(100) NOT NULL, attempt INTEGER NOT NULL, state VARCHAR(20) NOT NULL, result VARCHAR(20),
  message TEXT NOT NULL, started_us BIGINT, ended_us BIGINT, output TEXT NOT NULL, log_path TEXT, repair INTEGER NOT NULL,
  retry_us BIGINT, process VARCHAR(300), UNIQUE (run_id, task_key, attempt));
CREATE TABLE task_values (run_id BIGINT NOT NULL REFERENCES job_runs (id), task_key VARCHAR(100) NOT NULL,
  name VARCHAR(200) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run_id, task_key, name))
"""


def _add_schedules(connection: Connection) -> None:
    """7: how far the schedules and triggers of jobs have come."""
    connection.exec_driver_sql(
        "CREATE TABLE job_ticks (job_id BIGINT NOT NULL PRIMARY KEY, declared TEXT NOT NULL, seen_us BIGINT NOT NULL)"
    )
    connection.exec_driver_sql(
        "CREATE TABLE job_causes (job_id BIGINT NOT NULL PRIMARY KEY, declared TEXT NOT NULL, position TEXT NOT NULL, "
        "pending TEXT, number INTEGER NOT NULL, revision INTEGER NOT NULL)"
    )


# Append only. The first step leads from schema version 1 to 2, and so on. A new database gets today's schema at once, so
# each change to `schema.py` is made twice: there, and as a step here that brings older databases to the same state. `version.py`
# counts them.
STEPS: Sequence[Step] = (_add_feature_functions, _add_tokens, _add_canaries, _add_alerts, _add_jobs, _add_schedules)


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
