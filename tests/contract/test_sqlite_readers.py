"""What is read from a workspace database without SQLAlchemy is what its stores wrote: their suites, reading the other way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from millrace.access.adapters.sql_tokens import SqlTokenStore
from millrace.access.adapters.sqlite_tokens import SqliteTokenReader
from millrace.access.types import Token
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidState, NewerHome
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog
from millrace.database.reading import DatabaseReader, reader
from millrace.database.settings import HomeSettings
from millrace.database.version import NEWEST, VERSION_KEY
from millrace.jobs.job import ConditionTask, CronSchedule, Job, TableUpdateTrigger, Task
from millrace.jobs.put_job import put_job
from millrace.jobs.schedules.work import has_work
from millrace.jobs.submit import submit
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.serving.adapters.sqlite_endpoints import SqliteEndpointReader
from millrace.serving.types import Endpoint, EndpointName
from millrace.testing.endpoints import EndpointStoreSuite
from millrace.testing.tokens import TokenStoreSuite
from millrace.workspace import open_workspace, serving_home
from millrace.workspace.serving_home import open_serving_home

_TASKS = [Task("only", ConditionTask("EQUAL_TO", "1", "1"))]
_T = datetime(2025, 3, 1, 6, tzinfo=UTC)
_WORKER = """
import sys
import millrace.api.worker
from millrace.workspace.serving_home import open_serving_home
home = open_serving_home(sys.argv[1])
print(len(home.endpoints.list()), len(home.tokens.list()), home.clock.is_virtual, home.clock.now() is not None)
home.close()
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"sqlalchemy", "pandas", "pyarrow", "mlflow"}))
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'home' / 'millrace.db'}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    opened = open_database(url)
    yield opened
    opened.dispose()


@pytest.fixture
def database(engine: Engine, url: str) -> Iterator[DatabaseReader]:
    assert engine.dialect.name == "sqlite"
    opened = reader(url)
    assert opened is not None
    yield opened
    opened.close()


class _Tokens(SqlTokenStore):
    def __init__(self, engine: Engine, database: DatabaseReader) -> None:
        super().__init__(engine, ManualClock(_T), Principal("user", "ada"))
        self._reader = SqliteTokenReader(database)

    def list(self, *, revoked: bool = False) -> Sequence[Token]:
        return self._reader.list(revoked=revoked)


class _Endpoints(SqlEndpointStore):
    def __init__(self, engine: Engine, database: DatabaseReader) -> None:
        super().__init__(engine)
        self._reader = SqliteEndpointReader(database)

    def get(self, name: EndpointName) -> Endpoint:
        return self._reader.get(name)

    def list(self) -> Sequence[Endpoint]:
        return self._reader.list()


class TestSqliteTokenReader(TokenStoreSuite):
    @pytest.fixture
    def opened(self, engine: Engine, database: DatabaseReader) -> Callable[[], _Tokens]:
        return lambda: _Tokens(engine, database)


class TestSqliteEndpointReader(EndpointStoreSuite):
    @pytest.fixture
    def opened(self, engine: Engine, database: DatabaseReader) -> Callable[[], _Endpoints]:
        return lambda: _Endpoints(engine, database)

    @pytest.fixture
    def events(self, engine: Engine) -> SqlEventLog:
        return SqlEventLog(engine)


def test_nothing_is_written_through_a_reader(database: DatabaseReader) -> None:
    with pytest.raises(Exception, match="readonly"):
        database.rows("DELETE FROM settings")


def test_that_something_was_written_is_seen(database: DatabaseReader, engine: Engine) -> None:
    before = database.changes()
    assert database.changes() == before
    HomeSettings(engine).set("anything", 1)
    assert database.changes() != before


@pytest.mark.parametrize(
    ("job", "runs", "expected"),
    [
        (Job("a", _TASKS), None, False),
        (Job("a", _TASKS, CronSchedule("0 0 6 * * ?")), None, True),
        (Job("a", _TASKS, CronSchedule("0 0 6 * * ?", pause_status="PAUSED")), None, False),
        (Job("a", _TASKS, None, TableUpdateTrigger(("bronze.t",))), None, True),
        (Job("a", _TASKS, None, TableUpdateTrigger(("bronze.t",)), pause_status="PAUSED"), None, False),
        (Job("a", _TASKS, pause_status="PAUSED"), None, False),
        (Job("a", _TASKS), "QUEUED", True),
        (Job("a", _TASKS), "TERMINATED", False),
    ],
)
def test_whether_jobs_need_a_scheduler_is_read_alike(
    tmp_path: Path, job: Job, runs: str | None, *, expected: bool
) -> None:
    with closing(open_workspace(tmp_path)) as workspace, closing(open_serving_home(tmp_path)) as home:
        assert (home.has_job_work(), has_work(workspace.jobs)) == (False, False)  # there is no job
        put_job(workspace.jobs, job)
        if runs is not None:
            run = submit(workspace.jobs, "a")
            if runs == "TERMINATED":
                workspace.jobs.runs.stop(run, "it was enough")
        assert (home.has_job_work(), has_work(workspace.jobs)) == (expected, expected)


def test_what_is_no_file_of_today_is_left_to_others(tmp_path: Path, url: str, engine: Engine) -> None:
    assert reader(f"sqlite:///{tmp_path / 'not there.db'}") is None
    assert not (tmp_path / "not there.db").exists()
    (tmp_path / "text.db").write_text("this is no database" * 100)
    urls = [f"sqlite:///{tmp_path / 'text.db'}", "sqlite://", "sqlite:///relative.db", url + "?mode=ro"]
    assert [reader(each) for each in [*urls, "postgresql://ada@host/name"]] == [None] * 5
    for other in (NEWEST - 1, NEWEST + 1):
        HomeSettings(engine).set(VERSION_KEY, other)
        assert reader(url) is None


def test_a_home_that_is_not_there_is_made(tmp_path: Path) -> None:
    home = open_serving_home(tmp_path / "new")
    assert (list(home.endpoints.list()), list(home.tokens.list()), home.clock.is_virtual) == ([], [], False)
    home.close()
    home.close()


def test_of_a_home_that_was_just_made_it_is_known_when_something_is_written(tmp_path: Path) -> None:
    with closing(open_serving_home(tmp_path / "new")) as home, closing(open_workspace(tmp_path / "new")) as workspace:
        before = home.changes()
        assert home.changes() == before
        workspace.clock.set(_T)
        assert home.changes() != before


def test_where_that_is_not_known_it_may_be_every_ten_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_home, "reader", lambda _: None)  # as with PostgreSQL
    with closing(open_serving_home(tmp_path / "new")) as home:
        seen = []
        for now in (100.0, 101.0, 109.5, 110.0, 119.0, 120.0):
            with monkeypatch.context() as then:
                then.setattr("time.monotonic", lambda now=now: now)
                seen.append(home.changes())
    assert [a != b for a, b in pairwise(seen)] == [False, False, True, False, True]


def test_a_worker_opens_a_home_without_sqlalchemy(tmp_path: Path) -> None:
    open_workspace(tmp_path / "home").close()
    told = subprocess.run(
        [sys.executable, "-c", _WORKER, tmp_path / "home"], capture_output=True, text=True, check=True
    ).stdout
    assert told.splitlines() == ["0 0 False True", ""]


def test_virtual_time_is_read_each_time(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "home")
    workspace.clock.set(_T)
    home = open_serving_home(tmp_path / "home")
    assert (home.clock.is_virtual, home.clock.now()) == (True, _T)
    workspace.clock.set(_T.replace(hour=7))
    assert home.clock.now() == _T.replace(hour=7)
    home.close()
    workspace.close()


def test_homes_that_were_moved_or_are_newer_are_refused(tmp_path: Path) -> None:
    open_workspace(tmp_path / "home").close()
    moved = (tmp_path / "home").rename(tmp_path / "moved")
    with pytest.raises(InvalidState, match="was made at"):
        open_serving_home(moved)
    other = open_workspace(tmp_path / "other")
    with other.engine.begin() as connection:
        connection.execute(text("UPDATE settings SET value = '99' WHERE key = :key"), {"key": VERSION_KEY})
    other.close()
    with pytest.raises(NewerHome):
        open_serving_home(tmp_path / "other")
