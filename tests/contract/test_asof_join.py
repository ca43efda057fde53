"""The point-in-time rules, for every engine that joins. `--engine` chooses; the oracle is held to its own rules too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from millrace.features.adapters.arrow_asof import ArrowAsOfJoin
from millrace.features.adapters.duckdb_asof import DuckDbAsOfJoin
from millrace.features.adapters.spark_asof import SparkAsOfJoin
from millrace.features.port import AsOfJoin
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sail import SailEngine
from millrace.testing.as_of_join import AsOfJoinSuite
from millrace.testing.as_of_join_laws import AsOfJoinLaws
from millrace.testing.as_of_join_values import AsOfJoinKeysSuite, AsOfJoinRefusalsSuite, AsOfJoinValuesSuite
from millrace.testing.point_in_time import PlainAsOfJoin

if TYPE_CHECKING:
    from millrace.lake.port import SparkEngine

ENGINES = ["arrow", "duckdb", "sail", pytest.param("spark", marks=pytest.mark.spark)]
# The oracle judges answers: it is not asked what has none, nor compared with itself.
judged = pytest.mark.parametrize("engine", ENGINES, indirect=True)
# How many examples of each law an ordinary run has, and how many cases each holds: a call takes a cluster 50 times longer.
EXAMPLES = {"arrow": 25, "duckdb": 5, "sail": 4, "spark": 4}
CASES = {"arrow": 4, "duckdb": 10, "sail": 20, "spark": 25}
NIGHTLY_CASES = 10


@pytest.fixture(scope="session", params=["oracle", *ENGINES])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def join(engine: str, request: pytest.FixtureRequest) -> Iterator[AsOfJoin]:
    if engine == "oracle":
        yield PlainAsOfJoin(DeltaTableStore())
    elif engine == "arrow":
        yield ArrowAsOfJoin(threads=2)
    elif engine == "duckdb":
        yield DuckDbAsOfJoin(threads=2)
    else:
        spark: SparkEngine = SailEngine(threads=2) if engine == "sail" else request.getfixturevalue("real_spark")
        yield SparkAsOfJoin(spark)
        if engine == "sail":
            spark.close()


@pytest.fixture
def opened(join: AsOfJoin) -> Callable[[], AsOfJoin]:
    return lambda: join


class TestCases(AsOfJoinSuite):
    """Worked cases and rules."""


class TestKeys(AsOfJoinKeysSuite):
    """Keys of each type."""


class TestValues(AsOfJoinValuesSuite):
    """Values of each type."""


@judged
class TestRefusals(AsOfJoinRefusalsSuite):
    """What can't be answered."""


@judged
class TestLaws(AsOfJoinLaws):
    """The laws. With `--hypothesis-profile=nightly`, each is held in a hundred thousand cases."""

    @pytest.fixture
    def examples(self, engine: str) -> int:
        return settings().max_examples // NIGHTLY_CASES if _is_nightly() else EXAMPLES[engine]

    @pytest.fixture
    def cases(self, engine: str) -> int:
        return NIGHTLY_CASES if _is_nightly() else CASES[engine]


def _is_nightly() -> bool:
    return settings().max_examples == settings.get_profile("nightly").max_examples
