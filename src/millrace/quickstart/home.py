"""The quickstart's home: its own, and clean at the start."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from millrace.core.clock import SystemClock, iso
from millrace.core.errors import AlreadyExists, Conflict, InvalidState
from millrace.core.settings import Settings
from millrace.targets.local_server import only_server
from millrace.workspace import Workspace, open_workspace

MARK = "quickstart"
_LOCK = "quickstart.lock"
_PIPELINE, _MODEL = "customer_churn", "ml.models.customer_churn"
_TABLES = {
    "bronze.transactions",
    "bronze.customers",
    "ml.features.customer_churn_features",
    "ml.labels.churn_labels",
}
_TABLES_OF_TRAFFIC = ("ml.inference_logs.customer_churn_", "ml.monitoring.customer_churn_")
_ENDPOINTS = {"customer-churn", "customer-churn-staging"}
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
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    if any(f"{settings.home}/" not in place for place in inside):
        raise InvalidState(
            "the environment puts databases or tables outside the home",
            hint="unset MILLRACE_DATABASE_URL, MILLRACE_MLFLOW_URL and MILLRACE_WAREHOUSE for the quickstart: it starts clean each time",
        )


def _clean(settings: Settings) -> str:
    home = settings.home
    if not (home / "millrace.db").exists():
        return f"starting in a new home, {home}"
    with only_server(home):  # none is there, and none begins while the home is deleted
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
    """What is in the home and was not made by a quickstart; in a home without its mark that is everything."""
    pipelines = workspace.home_settings.get("pipelines")
    found = [
        (_TABLES, "", [str(entry.name) for entry in workspace.lake.catalog.list()]),
        ({_PIPELINE}, "the pipeline ", list(pipelines) if isinstance(pipelines, dict) else []),
        (_ENDPOINTS, "the endpoint ", [str(endpoint.name) for endpoint in workspace.endpoints.list()]),
        (
            {_PIPELINE},
            "the MLflow experiment ",
            _mlflow(workspace, "SELECT name FROM experiments WHERE experiment_id IN (SELECT experiment_id FROM runs)"),
        ),
        ({_MODEL}, "the model ", _mlflow(workspace, "SELECT name FROM registered_models")),
    ]
    return [
        called + name
        for ours, called, names in found
        for name in names
        if not (marked and (name in ours or name.startswith(_TABLES_OF_TRAFFIC)))
    ]


def _mlflow(workspace: Workspace, query: str) -> list[str]:
    """Names in the home's MLflow database, read without MLflow, which would go on holding the file that is deleted."""
    path = workspace.home / "mlflow.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return [str(name) for (name,) in connection.execute(query)]
        except sqlite3.OperationalError:  # killed before MLflow had made its tables: nothing is in them
            return []


def _delete(home: Path) -> None:
    # The database goes last: while it is there, a killed deletion is found again by its mark.
    for name in _MADE:
        for path in (home / name, home / f"{name}-wal", home / f"{name}-shm"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
