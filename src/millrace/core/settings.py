"""Where things are and how much of the machine may be used: one frozen object, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from millrace.core.errors import UsageError

JoinEngine = Literal["arrow", "duckdb", "spark"]
Durability = Literal["process", "buffered", "durable"]
_QUOTA_BYTES = 2 << 30
KEPT_RUNS = 1_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment decides.

    Attributes:
        home: the home directory, absolute; it need not exist yet.
        database_url: SQLAlchemy URL of the workspace database.
        mlflow_url: SQLAlchemy URL of MLflow's own database.
        warehouse: root of the tables, a path or an object-store URL, no trailing slash.
        spark_remote: Spark Connect endpoint (`sc://host:port`), or None for the embedded engine.
        join_engine: what looks up features by key and time: `arrow` or `duckdb` in this process, or `spark`, which is
            the default where there is a `spark_remote`.
        threads: how many threads each engine may use, at least 1.
        capture_durability: what a captured request survives when its caller reads the answer: the end of the process
            (`process`), a power cut too (`durable`), or neither for 50 ms (`buffered`).
        capture_quota_bytes: how much may wait for the drain; what comes beyond is dropped.
        access_log: whether the server writes a line for each request.
        online_url: a Redis server as the online store (`redis://host:port/0`), or None for the home's own.
        kept_runs: how many runs of each job are kept, the newest, with their logs and folders; and how many notebooks of each
            name that were executed by hand.
        model_sources: paths or URLs under which models may lie, beside the home's own artifacts; loading one runs its code.
    """

    home: Path
    database_url: str
    mlflow_url: str
    warehouse: str
    spark_remote: str | None
    join_engine: JoinEngine
    threads: int
    capture_durability: Durability = "process"
    capture_quota_bytes: int = _QUOTA_BYTES
    access_log: bool = False
    online_url: str | None = field(default=None, repr=False)  # it may hold a password
    model_sources: tuple[str, ...] = ()
    kept_runs: int = KEPT_RUNS

    @classmethod
    def load(cls, home: str | Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
        """Read `MILLRACE_*` from the environment; `home` wins over `MILLRACE_HOME` over `./.millrace`.

        Raises:
            UsageError: a number is not a positive one, `MILLRACE_JOIN_ENGINE` or `MILLRACE_CAPTURE_DURABILITY` not one that
                there is, or `MILLRACE_ACCESS_LOG` neither 1 nor 0.
        """
        env = os.environ if env is None else env
        root = Path(home or env.get("MILLRACE_HOME") or ".millrace").expanduser().absolute()
        return cls(
            home=root,
            database_url=env.get("MILLRACE_DATABASE_URL") or f"sqlite:///{root / 'millrace.db'}",
            mlflow_url=env.get("MILLRACE_MLFLOW_URL") or f"sqlite:///{root / 'mlflow.db'}",
            warehouse=(env.get("MILLRACE_WAREHOUSE") or str(root / "warehouse")).rstrip("/"),
            spark_remote=env.get("MILLRACE_SPARK_REMOTE") or None,
            join_engine=_join_engine(env.get("MILLRACE_JOIN_ENGINE"), remote=bool(env.get("MILLRACE_SPARK_REMOTE"))),
            threads=_whole(env, "MILLRACE_THREADS", min(os.cpu_count() or 1, 4)),
            capture_durability=_durability(env.get("MILLRACE_CAPTURE_DURABILITY") or "process"),
            capture_quota_bytes=_whole(env, "MILLRACE_CAPTURE_QUOTA_BYTES", _QUOTA_BYTES),
            access_log=_switch("MILLRACE_ACCESS_LOG", env.get("MILLRACE_ACCESS_LOG")),
            online_url=env.get("MILLRACE_ONLINE_URL") or None,
            model_sources=tuple(filter(None, map(str.strip, env.get("MILLRACE_MODEL_SOURCES", "").split(",")))),
            kept_runs=_whole(env, "MILLRACE_KEPT_RUNS", KEPT_RUNS),
        )


def cache_folder(env: Mapping[str, str] | None = None) -> Path | None:
    """Where things are that can be made again at any time: `MILLRACE_CACHE`, else `millrace` in `XDG_CACHE_HOME` (an absolute path) or in ~/.cache.

    None where nobody knows where the user's home is, as in a container with any user's number.
    """
    env = os.environ if env is None else env
    own, shared = env.get("MILLRACE_CACHE"), Path(env.get("XDG_CACHE_HOME", ""))
    folder = Path(own) if own else (shared if shared.is_absolute() else Path("~/.cache")) / "millrace"
    try:
        return folder.expanduser().absolute()
    except RuntimeError:
        return None


def _join_engine(text: str | None, *, remote: bool) -> JoinEngine:
    given = text or ("spark" if remote else "arrow")
    if given in get_args(JoinEngine):
        return cast("JoinEngine", given)
    raise UsageError(f"MILLRACE_JOIN_ENGINE is '{given}'", hint=f"set it to one of: {', '.join(get_args(JoinEngine))}")


def _switch(name: str, text: str | None) -> bool:
    if text in (None, "", "0"):
        return False
    if text == "1":
        return True
    raise UsageError(f"{name} is '{text}'", hint="set it to 1 or 0")


def _durability(given: str) -> Durability:
    if given in get_args(Durability):
        return cast("Durability", given)
    names = ", ".join(get_args(Durability))
    raise UsageError(f"MILLRACE_CAPTURE_DURABILITY is '{given}'", hint=f"set it to one of: {names}")


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name)
    if text is None:
        return default
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"{name} is '{text}'", hint="set it to a whole number from 1")
