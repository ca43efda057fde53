from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from millrace.lake.port import SparkEngine
    from millrace.testing.postgres import PostgresServer

pytest.register_assert_rewrite("millrace.testing")
# In a program without a file, as the tests' workers are, PySpark's client believes to be in its own tests, and exits.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__
# Homes are made by the hundred: MLflow's empty tables are copied from one to the next, and none of them into the user's own cache.
os.environ.setdefault("MILLRACE_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "millrace"))
# `--hypothesis-profile=nightly`: as many cases as the laws are promised to have seen.
_NIGHTLY_EXAMPLES = int(os.environ.get("MILLRACE_NIGHTLY_EXAMPLES") or 100_000)
settings.register_profile("nightly", max_examples=_NIGHTLY_EXAMPLES, deadline=None, print_blob=True)
if os.environ.get("CI"):
    from hypothesis.internal.conjecture import providers

    # It mixes in numbers and texts of our modules that are imported by then, which depends on what else a worker has run: the same
    # cases would not be drawn twice.
    assert callable(providers._get_local_constants)
    providers._get_local_constants = lambda: providers._local_constants
# A slow machine is no fault of a test: Hypothesis knows that of CI, and looks at the clock elsewhere.
if settings.get_current_profile_name() == "default":
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="a skipped test is a failure: what it needs should have been there"
    )
    parser.addoption(
        "--engine",
        action="append",
        choices=["oracle", "arrow", "duckdb", "sail", "spark"],
        help="of the tests that run on several engines, only those on this one (may be given again)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    del call
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped, with --no-skips: {report.longrepr}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _choose_engines(config, items)
    if _has_openmp():
        return
    missing = pytest.mark.skip(reason="LightGBM needs libgomp.so.1; install Debian's package libgomp1")
    for item in items:
        if item.get_closest_marker("openmp"):
            item.add_marker(missing)


def _choose_engines(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("--engine")
    if not chosen:
        return
    left_out = [item for item in items if _engine(item) not in (None, *chosen)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _engine(item: pytest.Item) -> str | None:
    spec = getattr(item, "callspec", None)
    return None if spec is None else spec.params.get("engine")


def _has_openmp() -> bool:
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the test session's own."""
    from millrace.core.errors import NotFound
    from millrace.testing.postgres import temporary_postgres

    try:
        with temporary_postgres() as server:
            yield server
    except NotFound as error:
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture(scope="session")
def spark_remote() -> Iterator[str]:
    """The address of a real Spark of the test session's own (`sc://...`), for tests marked `spark`."""
    from millrace.core.errors import NotFound
    from millrace.testing.spark_server import ENVIRONMENT, temporary_spark

    root = Path(__file__).parents[1]
    try:
        with temporary_spark(Path(os.environ.get("MILLRACE_TEST_SPARK") or root / ENVIRONMENT)) as url:
            yield url
    except NotFound as error:
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture(scope="session")
def real_spark(spark_remote: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkEngine]:
    """An engine on that Spark, with a lake of its own that has no tables."""
    from millrace.core.clock import SystemClock
    from millrace.core.principal import system
    from millrace.database.engine import open_database
    from millrace.lake.adapters.delta import DeltaTableStore
    from millrace.lake.adapters.spark_connect import SparkConnectEngine
    from millrace.lake.adapters.sql_catalog import SqlCatalog
    from millrace.lake.lake import Lake

    folder = tmp_path_factory.mktemp("spark")
    database = open_database(f"sqlite:///{folder / 'millrace.db'}")
    lake = Lake(SqlCatalog(database), DeltaTableStore(), SystemClock(), system("test"), str(folder / "warehouse"))
    engine = SparkConnectEngine(spark_remote, lake)
    yield engine
    engine.close()
    database.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty workspace database, of each kind."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.new_database()
    return f"sqlite:///{tmp_path / 'home' / 'millrace.db'}"
