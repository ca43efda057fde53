"""A workspace beside another: in a folder of its own, with databases, tables and an engine of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from millrace.core.settings import Settings
from millrace.database.clock import HomeClock
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog
from millrace.database.settings import HomeSettings
from millrace.workspace.workspace import Workspace


def settings_beside(settings: Settings, folder: Path) -> Settings:
    """The settings of a home in `folder`: nothing in it is where the environment says that the other home's things are."""
    return replace(
        settings,
        home=folder,
        database_url=f"sqlite:///{folder / 'millrace.db'}",
        mlflow_url=f"sqlite:///{folder / 'mlflow.db'}",
        warehouse=str(folder / "warehouse"),
        spark_remote=None,
        join_engine="arrow" if settings.join_engine == "spark" else settings.join_engine,
        online_url=None,
    )


def open_beside(workspace: Workspace, folder: Path) -> Workspace:
    """Open it, making it where it is missing; nothing of the other workspace is in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = settings_beside(workspace.settings, folder)
    engine = open_database(settings.database_url)
    kept = HomeSettings(engine)
    return Workspace(settings, workspace.principal, engine, kept, HomeClock(kept), SqlEventLog(engine))
