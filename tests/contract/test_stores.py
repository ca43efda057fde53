"""All stores over the workspace database, on SQLite and on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from millrace.access.adapters.sql_tokens import SqlTokenStore
from millrace.access.types import TokenName
from millrace.alerts.adapters.sql_channels import SqlChannelBook
from millrace.alerts.adapters.sql_episodes import SqlEpisodeStore
from millrace.alerts.adapters.sql_outbox import SqlOutbox
from millrace.alerts.adapters.sql_rules import SqlRuleStore
from millrace.core.clock import ManualClock
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog, append_event
from millrace.database.settings import HomeSettings
from millrace.jobs.adapters.sql import SqlLeases, SqlRunStore
from millrace.jobs.adapters.sql_execution import SqlExecution
from millrace.jobs.adapters.sql_job_runs import SqlJobRunStore
from millrace.jobs.adapters.sql_jobs import SqlJobStore, SqlTaskValues
from millrace.jobs.port import JobDesk
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.registry.adapters.sql_promotions import SqlPromotionLog
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.testing.alert_rules import ChannelBookSuite, RuleStoreSuite
from millrace.testing.catalog import CatalogSuite
from millrace.testing.endpoints import EndpointStoreSuite
from millrace.testing.episodes import EpisodeStoreSuite, OutboxSuite
from millrace.testing.home import EventLogSuite, HomeClockSuite, HomeSettingsSuite, event
from millrace.testing.job_stores import ExecutionSuite, JobRunStoreSuite, JobStoreSuite, TaskValueStoreSuite
from millrace.testing.promotions import PromotionLogSuite
from millrace.testing.runs import LeasesSuite, RunStoreSuite
from millrace.testing.tokens import TokenStoreSuite, token

Open = Callable[[], Engine]


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

    @pytest.fixture
    def events(self, engine: Open) -> SqlEventLog:
        return SqlEventLog(engine())


class TestSqlTokenStore(TokenStoreSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlTokenStore]:
        clock = ManualClock(datetime(2025, 3, 1, tzinfo=UTC))
        return lambda: SqlTokenStore(engine(), clock, Principal("user", "ada"))

    def test_changes_are_events_without_secrets(self, engine: Open) -> None:
        at, by = datetime(2025, 3, 1, tzinfo=UTC), Principal("user", "ada")
        store, one = SqlTokenStore(engine(), ManualClock(at), by), token("ci", query={"churn"})
        store.add(one)
        store.revoke(TokenName("ci"), one.created_at)
        made, revoked = SqlEventLog(engine()).read(subject="token/ci")
        assert (made.kind, made.at, made.by) == ("token.created", at, by)
        assert made.data == {"query": ["churn"], "manage": []}
        assert (revoked.kind, revoked.data) == ("token.revoked", {})


class TestSqlEpisodeStore(EpisodeStoreSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlEpisodeStore]:
        return lambda: SqlEpisodeStore(engine())


class TestSqlEventLog(EventLogSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlEventLog]:
        return lambda: SqlEventLog(engine())

    def test_no_event_can_be_read_before_one_with_a_smaller_cursor(self, engine: Open) -> None:
        log, other = SqlEventLog(engine()), SqlEventLog(engine())
        with ThreadPoolExecutor(1) as pool:
            with engine().begin() as unfinished:
                first = append_event(unfinished, event(number=1))
                second = pool.submit(other.append, event(number=2))
                time.sleep(0.2)
                assert list(log.read()) == []
            assert [found.cursor for found in log.read(after=first - 1, limit=1)] == [first]
            assert second.result(30) > first


class TestHomeSettings(HomeSettingsSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], HomeSettings]:
        return lambda: HomeSettings(engine())


class TestHomeClock(HomeClockSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], HomeSettings]:
        return lambda: HomeSettings(engine())


class TestSqlOutbox(OutboxSuite):
    @pytest.fixture
    def episodes(self, engine: Open) -> SqlEpisodeStore:
        return SqlEpisodeStore(engine())

    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlOutbox]:
        return lambda: SqlOutbox(engine())


class TestSqlRuleStore(RuleStoreSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlRuleStore]:
        return lambda: SqlRuleStore(engine())


class TestSqlChannelBook(ChannelBookSuite):
    @pytest.fixture
    def opened(self, engine: Open) -> Callable[[], SqlChannelBook]:
        return lambda: SqlChannelBook(engine())


@pytest.fixture
def desk(engine: Open) -> Callable[[], JobDesk]:
    """Desks over the test's database, each with an engine of its own, and one clock for all."""
    clock, by = ManualClock(datetime(2025, 3, 1, 6, tzinfo=UTC)), Principal("user", "ada")

    def opened() -> JobDesk:
        one = engine()
        return JobDesk(
            clock=clock,
            principal=by,
            events=SqlEventLog(one),
            jobs=SqlJobStore(one, clock, by),
            runs=SqlJobRunStore(one, clock, by),
            values=SqlTaskValues(one),
            leases=SqlLeases(one),
            execution=lambda holder: SqlExecution(one, clock, by, holder),
        )

    return opened


class TestSqlJobStore(JobStoreSuite):
    pass


class TestSqlJobRunStore(JobRunStoreSuite):
    pass


class TestSqlTaskValues(TaskValueStoreSuite):
    pass


class TestSqlExecution(ExecutionSuite):
    pass
