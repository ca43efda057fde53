"""All tables of the workspace database, in one place. Times are microseconds since 1970 UTC; documents are Document, see `documents.py`.

A change here is a new migration in `migrations.py`; what a migration made is never edited.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from millrace.database.documents import Document

METADATA = MetaData()

# SQLite only numbers rows by itself where the key is declared INTEGER.
_SERIAL = BigInteger().with_variant(Integer, "sqlite")

_OPEN = text("status = 'open'")
_IN_FORCE = text("revoked_us IS NULL")


def _id() -> Column[int]:
    return Column("id", _SERIAL, primary_key=True, autoincrement=True)


settings = Table(
    "settings", METADATA, Column("key", String(200), primary_key=True), Column("value", Document, nullable=False)
)

events = Table(
    "events",
    METADATA,
    _id(),
    Column("kind", String(100), nullable=False),
    Column("subject", String(500), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("by", String(200), nullable=False),
    Column("data", Document, nullable=False),
    Index("ix_events_kind", "kind", "id"),
    Index("ix_events_subject", "subject", "id"),
)

tables = Table(
    "tables",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("catalog", String(128), nullable=False),
    Column("schema", String(128), nullable=False),
    Column("name", String(128), nullable=False),
    Column("location", Text, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("definition", Document, nullable=False),
    UniqueConstraint("catalog", "schema", "name"),
)

runs = Table(
    "runs",
    METADATA,
    _id(),
    Column("pipeline", String(200), nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("status", String(20), nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_runs_pipeline", "pipeline", "id"),
)

stage_runs = Table(
    "stage_runs",
    METADATA,
    _id(),
    Column("run_id", _SERIAL, ForeignKey("runs.id"), nullable=False),
    Column("pipeline", String(200), nullable=False),
    Column("stage", String(200), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("status", String(20), nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("seconds", Float(53)),
    Column("output", Document, nullable=False),
    Index("ix_stage_runs_lookup", "pipeline", "stage", "fingerprint", "id"),
    Index("ix_stage_runs_run", "run_id", "id"),
)

leases = Table(
    "leases",
    METADATA,
    Column("name", String(100), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)

promotions = Table(
    "promotions",
    METADATA,
    _id(),
    Column("model", String(400), nullable=False),
    Column("version", String(20), nullable=False),
    Column("alias", String(100), nullable=False),
    Column("replaced", String(20)),
    Column("at_us", BigInteger, nullable=False),
    Column("by", String(200), nullable=False),
    Column("why", Text, nullable=False),
    Column("verdict", Document, nullable=False),
    Index("ix_promotions_model", "model", "id"),
)

endpoints = Table(
    "endpoints",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("generation", Integer, nullable=False),
    Column("config", Document, nullable=False),
    Column("plans", Document, nullable=False),
    Column("pending", Document),
    Column("state", Document, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("previous", Document),
    Column("canary", Document),
)

episodes = Table(
    "episodes",
    METADATA,
    _id(),
    Column("rule", String(200), nullable=False),
    Column("subject", String(500), nullable=False),
    Column("status", String(20), nullable=False),
    Column("began_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger),
    Column("reason", Text, nullable=False),
    Column("data", Document, nullable=False),
    Column("kind", String(40), nullable=False, server_default=""),
    Column("owed", String(20), nullable=False, server_default=""),
    Column("revision", Integer, nullable=False, server_default="0"),
    Index("ix_episodes_rule", "rule", "id"),
    Index("ix_episodes_owed", "owed", "id"),
    # The database itself holds that there is one open episode at most, so that no race can make a second.
    Index("ux_episodes_open", "rule", "subject", "kind", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
)

episode_notes = Table(
    "episode_notes",
    METADATA,
    _id(),
    Column("episode_id", _SERIAL, ForeignKey("episodes.id"), nullable=False),
    Column("key", String(300), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("by", String(200), nullable=False),
    Column("text", Text, nullable=False),
    UniqueConstraint("episode_id", "key"),
)

outbox = Table(
    "outbox",
    METADATA,
    _id(),
    Column("key", String(300), nullable=False, unique=True),
    Column("payload", Document, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("episode_id", _SERIAL, nullable=False, server_default="0"),
    Index("ix_outbox_episode", "episode_id", "id"),
)

deliveries = Table(
    "deliveries",
    METADATA,
    _id(),
    Column("outbox_id", _SERIAL, ForeignKey("outbox.id"), nullable=False),
    Column("channel", String(200), nullable=False),
    Column("status", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Column("sent_us", BigInteger),
    Column("last_error", Text),
    UniqueConstraint("outbox_id", "channel"),
    Index("ix_deliveries_status", "status", "id"),
)

alert_rules = Table(
    "alert_rules",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("definition", Document, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("pipeline", String(200)),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("mute", Document),
    Column("state", Document),
)

silences = Table(
    "silences",
    METADATA,
    _id(),
    Column("matchers", Document, nullable=False),
    Column("starts_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", String(200), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_silences_ends", "ends_us"),
)

# The one place that holds what a notification is sent to: URLs with their secrets.
alert_channels = Table(
    "alert_channels",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("url", Text, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

feature_functions = Table(
    "feature_functions",
    METADATA,
    _id(),
    Column("name", String(400), nullable=False),
    Column("version", Integer, nullable=False),
    Column("definition", Document, nullable=False),
    Column("description", Text, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("name", "version"),
)

feature_specs = Table(
    "feature_specs",
    METADATA,
    Column("name", String(400), primary_key=True),
    Column("spec", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    METADATA,
    _id(),
    Column("name", String(64), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("query", Document, nullable=False),
    Column("manage", Document, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    # A name is free again when its token is revoked.
    Index("ux_tokens_in_force", "name", unique=True, sqlite_where=_IN_FORCE, postgresql_where=_IN_FORCE),
)

jobs = Table(
    "jobs",
    METADATA,
    _id(),
    Column("name", String(200), nullable=False, unique=True),
    Column("settings", Document, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # the id of a job that is gone is not given again
)

# One series of numbers for runs and attempts.
job_run_ids = Table(
    "job_run_ids", METADATA, _id(), Column("of", String(200), nullable=False), sqlite_autoincrement=True
)

job_runs = Table(
    "job_runs",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("job_id", BigInteger, nullable=False),
    Column("job", String(200), nullable=False),
    Column("token", String(300), nullable=False),
    Column("number", Integer, nullable=False),
    Column("trigger", String(20), nullable=False),
    Column("due_us", BigInteger),
    Column("parameters", Document, nullable=False),
    Column("settings", Document, nullable=False),
    Column("state", String(20), nullable=False),
    Column("result", String(20)),
    Column("message", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("by", String(200), nullable=False),
    Column("repairs", Integer, nullable=False),
    Column("caller", BigInteger),
    Column("deadline_us", BigInteger),
    Column("stop_as", String(20)),
    UniqueConstraint("job", "token"),
    UniqueConstraint("job", "number"),
    Index("ix_job_runs_state", "state", "job", "id"),
    Index("ix_job_runs_job", "job", "id"),
)

task_runs = Table(
    "task_runs",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", BigInteger, ForeignKey("job_runs.id"), nullable=False),
    Column("task_key", String(100), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("result", String(20)),
    Column("message", Text, nullable=False),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("output", Document, nullable=False),
    Column("log_path", Text),
    Column("repair", Integer, nullable=False),
    Column("retry_us", BigInteger),
    Column("process", String(300)),
    UniqueConstraint("run_id", "task_key", "attempt"),
)

task_values = Table(
    "task_values",
    METADATA,
    Column("run_id", BigInteger, ForeignKey("job_runs.id"), primary_key=True, autoincrement=False),
    Column("task_key", String(100), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("value", Document, nullable=False),
)

# How far the schedules of jobs have come, and their triggers.
job_ticks = Table(
    "job_ticks",
    METADATA,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("declared", Text, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
)

job_causes = Table(
    "job_causes",
    METADATA,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("declared", Text, nullable=False),
    Column("position", Document, nullable=False),
    Column("pending", Document),
    Column("number", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
)
