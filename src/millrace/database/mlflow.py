"""Before MLflow opens its own database: what it must be told, and one process at a time.

MLflow makes and migrates its tables when it first opens a database, and two processes that do so at once break each other.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock
from sqlalchemy import make_url

from millrace.core.errors import InvalidState
from millrace.database.mlflow_template import begin_from_template, keep_as_template

_ENVIRONMENT = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# What it warns of in its own code, on import, at the first query, when it saves.
_WARNINGS: tuple[tuple[str, type[Warning]], ...] = (
    (".*Any type hint is inferred as AnyType", UserWarning),
    ("The ``noload`` loader strategy is deprecated", DeprecationWarning),
    ("Operation with range is deprecated", DeprecationWarning),  # pandas, of how MLflow writes an example
)
_NO_PATHS = ("file:", ":memory:")


def tell_mlflow() -> None:
    """Call this before importing MLflow or a part of it: no progress bars, no warnings of its own code.

    What the user has set in the environment stays.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for message, category in _WARNINGS:
        warnings.filterwarnings("ignore", message, category)


@contextmanager
def opening_mlflow(url: str) -> Iterator[None]:
    """Hold this while MLflow first opens the database at `url`: one process at a time, quietly, and SQLite in WAL mode.

    Raises:
        InvalidState: the file can't be opened, or is no database.
    """
    tell_mlflow()
    path = make_url(url).database if url.startswith("sqlite") else None
    with ExitStack() as held:
        if path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(f"{path}.lock", thread_local=False))
            if not path.startswith(_NO_PATHS):
                held.enter_context(_made_once(Path(path)))
            _write_ahead(path)
        held.enter_context(quiet("mlflow", "alembic"))
        yield


@contextmanager
def _made_once(path: Path) -> Iterator[None]:
    """A new database begins with empty tables that were made before, or leaves its own to those that come."""
    made_here = not os.path.lexists(path) and not begin_from_template(path)
    yield
    if made_here:
        keep_as_template(path)


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
    try:
        connection = sqlite3.connect(path, timeout=30)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InvalidState(
            f"MLflow's database {path} can't be used: {error}", hint="check MILLRACE_MLFLOW_URL and the home's rights"
        ) from error
