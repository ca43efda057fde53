"""The client's answers are the same whatever engine joins: in this process, on the embedded Spark, on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from millrace.feature_engineering import FeatureEngineeringClient, FeatureFunction, FeatureLookup, TrainingSet
from millrace.features.adapters.arrow_asof import ArrowAsOfJoin
from millrace.features.adapters.spark_asof import SparkAsOfJoin
from millrace.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

START = datetime(2025, 3, 1, tzinfo=UTC)
NOW = START + timedelta(days=60)
DAY = timedelta(days=1)
STAMP = pa.timestamp("us", "UTC")
CUSTOMERS, ROWS = 12, 200
LOOKUPS = [
    FeatureLookup("ml.f.spend", ["region", "customer"], timestamp_lookup_key="at", lookback_window=5 * DAY),
    FeatureLookup("ml.f.visits", "customer", timestamp_lookup_key="at", default_values={"visits": 0}),
    FeatureLookup("ml.f.regions", "region", rename_outputs={"weight": "region_weight"}),
]
FUNCTION = FeatureFunction("ml.f.weighted", {"visits": "visits", "weight": "region_weight", "at": "at"}, "weighted")


def weighted(visits: int, weight: float, at: datetime) -> float:
    """A function of two lookups and the time of the question."""
    return visits * weight + at.day


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joins") / "a home"


@pytest.fixture(scope="module")
def embedded(home: Path) -> Iterator[Workspace]:
    """The home with its tables, joining in this process."""
    workspace = open_workspace(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", workspace.settings.mlflow_url)
        patch.setenv("MLFLOW_REGISTRY_URI", workspace.settings.mlflow_url)
        workspace.clock.set(NOW)
        client = FeatureEngineeringClient(workspace=workspace)
        _make_tables(client)
        client.create_function(name="ml.f.weighted", function=weighted)
        yield workspace
    workspace.close()


@pytest.fixture(scope="module")
def model_uri(embedded: Workspace) -> str:
    import mlflow.sklearn
    from sklearn.tree import DecisionTreeClassifier

    client = FeatureEngineeringClient(workspace=embedded)
    trained = _training_set(client)
    inputs = trained.inputs().fillna(-1)
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(inputs, trained.to_pandas()["label"])
    return client.log_model(
        model=model, flavor=mlflow.sklearn, training_set=trained, registered_model_name="ml.models.tree"
    ).model_uri


@pytest.fixture(scope="module", params=["sail", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def other(engine: str, embedded: Workspace, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """The same home, joining on Spark."""
    with pytest.MonkeyPatch.context() as patch:
        if engine == "sail":
            patch.setenv("MILLRACE_JOIN_ENGINE", "spark")
        else:
            patch.setenv("MILLRACE_SPARK_REMOTE", request.getfixturevalue("spark_remote"))
        workspace = open_workspace(embedded.settings.home)
    yield workspace
    workspace.close()


def test_training_sets_are_equal_to_the_last_byte(embedded: Workspace, other: Workspace) -> None:
    assert isinstance(embedded.asof, ArrowAsOfJoin)
    assert isinstance(other.asof, SparkAsOfJoin)
    here, there = (_training_set(FeatureEngineeringClient(workspace=workspace)) for workspace in (embedded, other))
    assert there.to_arrow().equals(here.to_arrow())
    assert there.built.record == here.built.record
    assert there.load_df().toArrow().to_pylist() == here.to_arrow().to_pylist()
    found = here.to_arrow().to_pydict()
    assert found["label"] == [number % 2 for number in range(ROWS)]
    assert 0 < found["spend"].count(None) < ROWS
    assert 0 in found["visits"]
    weights = {"EU west": 3.5, "a/b": 1.5, None: None}
    asked = zip(found["visits"], found["region_weight"], _requests().column("at").to_pylist(), strict=True)
    assert found["weighted"] == [None if weight is None else visits * weight + at.day for visits, weight, at in asked]
    assert found["region_weight"] == [weights[region] for region in _requests().column("region").to_pylist()]


def test_scores_are_equal(embedded: Workspace, other: Workspace, model_uri: str) -> None:
    asked = _requests().drop_columns(["label"])
    here, there = (
        FeatureEngineeringClient(workspace=workspace).score_batch(model_uri=model_uri, df=asked).toArrow()
        for workspace in (embedded, other)
    )
    assert len(set(here.column("prediction").to_pylist())) > 1
    assert there.to_pylist() == here.to_pylist()
    assert len(set(there.column("weighted").to_pylist())) > 1


def _training_set(client: FeatureEngineeringClient) -> TrainingSet:
    return client.create_training_set(
        df=_requests(), features=[*LOOKUPS, FUNCTION], label="label", exclude_columns=["customer", "region", "at"]
    )


def _requests() -> pa.Table:
    random = np.random.default_rng(7)
    customers, days = random.integers(0, CUSTOMERS + 2, ROWS), random.integers(-2, 50, ROWS)
    return pa.table(
        {
            "customer": pa.array(customers),
            "region": [None if customer % 7 == 6 else "EU west" if customer % 2 else "a/b" for customer in customers],
            "at": pa.array([START + int(day) * DAY for day in days], STAMP),
            "label": pa.array(np.arange(ROWS) % 2),
        }
    )


def _make_tables(client: FeatureEngineeringClient) -> None:
    spend = pa.table(
        {
            "region": ["EU west" if customer % 2 else "a/b" for customer in range(CUSTOMERS) for _ in range(4)],
            "customer": pa.array([customer for customer in range(CUSTOMERS) for _ in range(4)], pa.int32()),
            "ts": pa.array([START + 10 * n * DAY for _ in range(CUSTOMERS) for n in range(4)], STAMP),
            "spend": pa.array(
                [Decimal(f"{customer}.{n}5") for customer in range(CUSTOMERS) for n in range(4)], pa.decimal128(18, 2)
            ),
        }
    )
    keys = ["region", "customer"]
    client.create_table(
        name="ml.f.spend", primary_keys=keys, timeseries_column="ts", df=spend, partition_columns=["region"]
    )
    days = [START.date() + n * DAY for n in range(20)]
    visits = pa.table(
        {
            "customer": pa.array([customer for customer in range(CUSTOMERS) for _ in days]),
            "day": pa.array([day for _ in range(CUSTOMERS) for day in days], pa.date32()),
            "visits": pa.array([customer * n for customer in range(CUSTOMERS) for n in range(20)], pa.int32()),
        }
    )
    client.create_table(name="ml.f.visits", primary_keys="customer", timeseries_column="day", df=visits)
    regions = pa.table({"region": ["EU west", "a/b"], "weight": [3.5, 1.5]})
    client.create_table(name="ml.f.regions", primary_keys="region", df=regions)
