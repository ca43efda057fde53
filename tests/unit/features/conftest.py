from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.core.clock import ManualClock
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.features.adapters.duckdb_asof import DuckDbAsOfJoin
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2025, 1, 1, tzinfo=UTC))


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock) -> Iterator[Lake]:
    engine = open_database(f"sqlite:///{tmp_path / 'home.db'}")
    yield Lake(SqlCatalog(engine), DeltaTableStore(), clock, Principal("user", "ada"), str(tmp_path / "warehouse"))
    engine.dispose()


@pytest.fixture
def join() -> DuckDbAsOfJoin:
    return DuckDbAsOfJoin(threads=1)


@pytest.fixture
def online(tmp_path: Path) -> Iterator[LmdbOnlineStore]:
    store = LmdbOnlineStore(tmp_path / "online")
    yield store
    store.close()
