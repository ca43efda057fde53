"""All stores over the workspace database, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from millrace.alerts.adapters.sql_episodes import SqlEpisodeStore
from millrace.core.errors import NotFound
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog
from millrace.database.settings import HomeSettings
from millrace.jobs.adapters.sql import SqlLeases, SqlRunStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.registry.adapters.sql_promotions import SqlPromotionLog
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.testing.catalog import CatalogSuite
from millrace.testing.endpoints import EndpointStoreSuite
from millrace.testing.episodes import EpisodeStoreSuite
from millrace.testing.home import EventLogSuite, HomeClockSuite, HomeSettingsSuite
from millrace.testing.postgres import PostgresServer, temporary_postgres
from millrace.testing.promotions import PromotionLogSuite
from millrace.testing.runs import LeasesSuite, RunStoreSuite

Open = Callable[[], Engine]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    try:
        with temporary_postgres() as server:
            yield server
    except NotFound as error:
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.new_database()
    return f"sqlite:///{tmp_path / 'home' / 'millrace.db'}"


@pytest.fixture
def engine(database_url: str) -> Iterator[Open]:
    """Opens the test's database, each time with an engine of its own, as each process has."""
    opened: list[Engine] = []

    def connect() -> Engine:
        opened.append(open_database(database_url))
        return opened[-1]

    yield connect
    for one in opened:
        one.dispose()


class TestSqlCatalog(CatalogSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlCatalog]:
        return lambda: SqlCatalog(engine())


class TestSqlRunStore(RunStoreSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlRunStore]:
        return lambda: SqlRunStore(engine())


class TestSqlLeases(LeasesSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlLeases]:
        return lambda: SqlLeases(engine())


class TestSqlPromotionLog(PromotionLogSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlPromotionLog]:
        return lambda: SqlPromotionLog(engine())


class TestSqlEndpointStore(EndpointStoreSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlEndpointStore]:
        return lambda: SqlEndpointStore(engine())


class TestSqlEpisodeStore(EpisodeStoreSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlEpisodeStore]:
        return lambda: SqlEpisodeStore(engine())


class TestSqlEventLog(EventLogSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlEventLog]:
        return lambda: SqlEventLog(engine())


class TestHomeSettings(HomeSettingsSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], HomeSettings]:
        return lambda: HomeSettings(engine())


class TestHomeClock(HomeClockSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], HomeSettings]:
        return lambda: HomeSettings(engine())
