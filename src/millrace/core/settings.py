"""Where things are and how much of the machine may be used: one frozen object, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millrace.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment decides.

    Attributes:
        home: the home directory, absolute; it need not exist yet.
        database_url: SQLAlchemy URL of the workspace database.
        mlflow_url: SQLAlchemy URL of MLflow's own database.
        warehouse: root of the tables, a path or an object-store URL, no trailing slash.
        spark_remote: Spark Connect endpoint (`sc://host:port`), or None for the embedded engine.
        threads: how many threads each engine may use, at least 1.
        online_url: a Redis server as the online store (`redis://host:port/0`), or None for the home's own.
    """

    home: Path
    database_url: str
    mlflow_url: str
    warehouse: str
    spark_remote: str | None
    threads: int
    online_url: str | None = field(default=None, repr=False)  # it may hold a password

    @classmethod
    def load(cls, home: str | Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
        """Read `MILLRACE_*` from the environment; `home` wins over `MILLRACE_HOME` over `./.millrace`.

        Raises:
            UsageError: `MILLRACE_THREADS` is not a positive number.
        """
        env = os.environ if env is None else env
        root = Path(home or env.get("MILLRACE_HOME") or ".millrace").expanduser().absolute()
        return cls(
            home=root,
            database_url=env.get("MILLRACE_DATABASE_URL") or f"sqlite:///{root / 'millrace.db'}",
            mlflow_url=env.get("MILLRACE_MLFLOW_URL") or f"sqlite:///{root / 'mlflow.db'}",
            warehouse=(env.get("MILLRACE_WAREHOUSE") or str(root / "warehouse")).rstrip("/"),
            spark_remote=env.get("MILLRACE_SPARK_REMOTE") or None,
            threads=_threads(env.get("MILLRACE_THREADS")),
            online_url=env.get("MILLRACE_ONLINE_URL") or None,
        )


def _threads(text: str | None) -> int:
    if text is None:
        return min(os.cpu_count() or 1, 4)
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"MILLRACE_THREADS is '{text}'", hint="set it to a whole number from 1")
