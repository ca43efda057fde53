"""The quickstart's home: its own, and clean at the start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from millrace.api.discovery import find_server
from millrace.core.clock import SystemClock, iso
from millrace.core.errors import AlreadyExists, Conflict, InvalidState
from millrace.core.settings import Settings
from millrace.workspace import Workspace, open_workspace

MARK = "quickstart"
_LOCK = "quickstart.lock"
_OURS = (
    "bronze.transactions",
    "bronze.customers",
    "ml.features.",
    "ml.labels.",
    "ml.inference_logs.",
    "ml.monitoring.",
)
_MADE = ("warehouse", "mlartifacts", "online", "capture", "logs", "mlflow.db", "millrace.db")


@contextmanager
def fresh_home(home: Path | None, seed: int) -> Iterator[tuple[Workspace, str]]:
    """The home, opened and empty, and a sentence on what was found in it. Only one quickstart at a time runs in it.

    What an earlier quickstart left, finished or killed, is deleted first. A home with anything else in it is refused.

    Raises:
        AlreadyExists: the home holds tables or models that no quickstart made.
        Conflict: it is being served, or another quickstart runs in it.
        InvalidState: the environment names databases outside the home, which can't be made clean.
    """
    settings = Settings.load(home)
    _check_settings(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.home / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Conflict(
            f"another quickstart runs in {settings.home}", hint="wait for it, or choose another --home"
        ) from None
    try:
        found = _clean(settings)
        workspace = open_workspace(settings.home)
        workspace.home_settings.set(MARK, {"status": "running", "seed": seed, "started": iso(SystemClock().now())})
        try:
            yield workspace, found
        finally:
            workspace.close()
    finally:
        lock.release()


def mark_finished(workspace: Workspace, seed: int) -> None:
    """Remember that the quickstart came to its end."""
    workspace.home_settings.set(MARK, {"status": "finished", "seed": seed, "ended": iso(SystemClock().now())})


def _check_settings(settings: Settings) -> None:
    inside = (settings.database_url, settings.mlflow_url, settings.warehouse)
    if any(str(settings.home) not in place for place in inside):
        raise InvalidState(
            "the environment puts databases or tables outside the home",
            hint="unset MILLRACE_DATABASE_URL, MILLRACE_MLFLOW_URL and MILLRACE_WAREHOUSE for the quickstart: it starts clean each time",
        )


def _clean(settings: Settings) -> str:
    home = settings.home
    if not (home / "millrace.db").exists():
        return f"starting in a new home, {home}"
    if find_server(home) is not None:
        raise Conflict(f"the home {home} is being served", hint="stop `millrace up` first, or choose another --home")
    status = _status(home)
    _delete(home)
    if status is None:
        return f"starting in an empty home, {home}"
    return f"a quickstart that was {status} was found in {home}: starting clean"


def _status(home: Path) -> str | None:
    workspace = open_workspace(home)
    try:
        mark = workspace.home_settings.get(MARK)
        foreign = _foreign(workspace, marked=mark is not None)
        if foreign:
            raise AlreadyExists(
                f"the home {home} holds {', '.join(foreign[:3])}, which no quickstart made",
                hint="choose another home for the quickstart: millrace quickstart --home DIR",
            )
        if not isinstance(mark, dict):
            return None
        return "finished" if mark.get("status") == "finished" else "interrupted"
    finally:
        workspace.close()


def _foreign(workspace: Workspace, *, marked: bool) -> list[str]:
    tables = [str(entry.name) for entry in workspace.lake.catalog.list()]
    models = [str(promotion.model) for promotion in workspace.promotions.read()]
    pipelines = workspace.home_settings.get("pipelines")
    named = [f"the pipeline {name}" for name in pipelines] if isinstance(pipelines, dict) else []
    if not marked:
        return [*tables, *models, *named]
    others = [table for table in tables if not table.startswith(_OURS)]
    return (
        others
        + [model for model in models if model != "ml.models.customer_churn"]
        + [n for n in named if n != "the pipeline customer_churn"]
    )


def _delete(home: Path) -> None:
    # The database goes last: while it is there, a killed deletion is found again by its mark.
    for name in _MADE:
        for path in (home / name, home / f"{name}-wal", home / f"{name}-shm"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
