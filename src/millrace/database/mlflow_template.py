"""An empty database of MLflow's, kept in the user's cache: a new home begins with a copy of it.

MLflow makes its SQLite tables by some sixty migrations, one after the other, which takes a second or more of processor. The
first home does that, and leaves its empty tables for those that come after it. Where nothing can be kept, each home does it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from millrace.core.settings import cache_folder


def begin_from_template(path: Path) -> bool:
    """Copy the template to a path where there is no file yet; whether that was done."""
    template, part = _template(), _part(path)
    try:
        with closing(_open(template, "ro")) as kept:
            kept.execute("SELECT version_num FROM alembic_version").fetchone()
            with closing(sqlite3.connect(part)) as copy:
                kept.backup(copy)
        part.replace(path)
    except (OSError, sqlite3.Error):  # there is none, or it is of no use: MLflow makes its tables itself
        part.unlink(missing_ok=True)
        return False
    return True


def keep_as_template(path: Path) -> None:
    """Keep what was just made at the path for the homes that come; does nothing where it can't be kept."""
    template = _template()
    part = _part(template)
    with suppress(OSError, sqlite3.Error):
        template.parent.mkdir(parents=True, exist_ok=True)
        with closing(_open(path, "ro")) as made, closing(sqlite3.connect(part)) as copy:
            made.backup(copy)
            # The default experiment keeps its artifacts in the home that was made.
            copy.execute("DELETE FROM experiments")
            copy.commit()
            copy.execute("PRAGMA journal_mode=DELETE")
        part.replace(template)
    with suppress(OSError):
        part.unlink(missing_ok=True)


def _template() -> Path:
    return cache_folder() / f"mlflow-{version('mlflow')}.db"


def _part(of: Path) -> Path:
    return of.with_name(f"{of.name}.{uuid4().hex}.part")


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30)
