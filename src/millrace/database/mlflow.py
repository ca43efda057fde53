"""Before MLflow opens its own database: what it must be told, and one process at a time.

MLflow makes and migrates its tables when it first opens a database, and two processes that do so at once break each other.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock
from sqlalchemy import make_url

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def tell_mlflow() -> None:
    """Set MLflow's environment variables where the user has not: no telemetry, no progress bars. Before it is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def opening_mlflow(url: str) -> Iterator[None]:
    """Hold this while MLflow first opens the database at `url`: one process at a time, quietly, and SQLite in WAL mode."""
    tell_mlflow()
    path = make_url(url).database if url.startswith("sqlite") else None
    with ExitStack() as held:
        if path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(f"{path}.lock", thread_local=False))
            _write_ahead(path)
        held.enter_context(quiet("mlflow", "alembic"))
        yield


@contextmanager
def quiet(*loggers: str, level: int = logging.ERROR) -> Iterator[None]:
    """Say only errors meanwhile."""
    before = {name: logging.getLogger(name).level for name in loggers}
    try:
        for name in loggers:
            logging.getLogger(name).setLevel(level)
        yield
    finally:
        for name, was in before.items():
            logging.getLogger(name).setLevel(was)


def _write_ahead(path: str) -> None:
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
