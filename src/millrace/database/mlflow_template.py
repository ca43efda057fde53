"""An empty database of MLflow's, kept in the user's cache: a new home begins with a copy of it.

MLflow makes its SQLite tables by some sixty migrations, one after the other, which takes a second or more of processor. The
first home does that, and leaves its empty tables for those that come after it. Where nothing can be kept, each home does it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from millrace.core.settings import cache_folder

_BESIDE = ("-wal", "-shm", "-journal")


def begin_from_template(path: Path) -> bool:
    """Copy the template to a path where there is no file; whether that was done. One process at a time for each path."""
    template = _template()
    if template is None or not template.is_file():
        return False
    try:
        with closing(_read(template)) as kept:
            if kept.execute("SELECT version_num FROM alembic_version").fetchone() is None:
                return False
            part = _copied(kept, path)
        # Of a database that was removed without them: SQLite would take them for the new one's.
        for name in _BESIDE:
            path.with_name(path.name + name).unlink(missing_ok=True)
        part.replace(path)
    except (OSError, sqlite3.Error):  # it is of no use: MLflow makes its tables itself
        return False
    return True


def keep_as_template(path: Path) -> None:
    """Keep what was just made at the path for the homes that come; does nothing where it can't be kept."""
    template = _template()
    if template is None:
        return
    with suppress(OSError, sqlite3.Error):
        template.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{template}.lock", thread_local=False):
            with closing(_read(path)) as made:
                part = _copied(made, template)
            with closing(sqlite3.connect(part)) as copy:
                # The default experiment keeps its artifacts in the home that was made.
                copy.execute("DELETE FROM experiments")
                copy.commit()
                copy.execute("PRAGMA journal_mode=DELETE")
            part.replace(template)


def _template() -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / f"mlflow-{version('mlflow')}.db"


def _read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)


def _copied(source: sqlite3.Connection, to: Path) -> Path:
    """The copy, beside where it shall be, in place of one that a killed process left."""
    part = to.with_name(f"{to.name}.part")
    for name in ("", *_BESIDE):
        part.with_name(part.name + name).unlink(missing_ok=True)
    with closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
    return part
