"""Versions and aliases of models, read from the registry's tables: without MLflow, which takes seconds and 200 MB to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row, create_engine, make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError

_NEWEST = text("SELECT MAX(version) AS newest FROM model_versions WHERE name = :name AND status = 'READY'")
_ALIASES = text("SELECT alias, version FROM registered_model_aliases WHERE name = :name")


class MlflowNewest:
    """What a registry's database says, whoever wrote it. A registry that nobody has used yet has no models.

    Args:
        url: of MLflow's database.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        self._engine = create_engine(parsed)
        self._file = parsed.database if parsed.get_backend_name() == "sqlite" else None

    def newest(self, model: str) -> int | None:
        """The newest version that is ready."""
        return next((int(row.newest) for row in self._read(_NEWEST, model) if row.newest is not None), None)

    def aliases(self, model: str) -> Mapping[str, int]:
        """By alias the version that has it."""
        return {str(row.alias): int(row.version) for row in self._read(_ALIASES, model)}

    def _read(self, query: Any, model: str) -> Sequence[Row[Any]]:
        if self._file is not None and not Path(self._file).exists():
            return ()  # asking would make it
        try:
            with self._engine.connect() as connection:
                return connection.execute(query, {"name": model}).all()
        except (OperationalError, ProgrammingError):
            return ()  # no tables yet, or it is being made
