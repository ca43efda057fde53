from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from millrace.feature_engineering import FeatureEngineeringClient
from millrace.workspace import Workspace, open_workspace
from tests.unit.feature_engineering.customers import NOW, history, training_set, wide


@pytest.fixture(scope="package")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        opened = open_workspace(tmp_path_factory.mktemp("client") / "home")
        patch.setenv("MLFLOW_TRACKING_URI", opened.settings.mlflow_url)
        patch.setenv("MLFLOW_REGISTRY_URI", opened.settings.mlflow_url)
        opened.clock.set(NOW)
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def client(workspace: Workspace) -> FeatureEngineeringClient:
    return FeatureEngineeringClient(workspace=workspace)


_NUMBERS = itertools.count()


@pytest.fixture
def name() -> str:
    """The name of a table that no other test has."""
    return f"ml.features.t{next(_NUMBERS)}"


@pytest.fixture(scope="package")
def features(client: FeatureEngineeringClient) -> str:
    client.create_table(name="ml.features.customers", primary_keys="customer_id", timeseries_column="ts", df=history())
    return "ml.features.customers"


@pytest.fixture(scope="package")
def model_uri(client: FeatureEngineeringClient, features: str) -> str:
    import mlflow.sklearn
    from sklearn.tree import DecisionTreeClassifier

    trained = training_set(client, features, wide(60), exclude_columns=["customer_id", "at", "ratio"])
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(trained.inputs(), trained.to_pandas()["label"])
    return client.log_model(
        model=model, flavor=mlflow.sklearn, training_set=trained, registered_model_name="ml.models.tree"
    ).model_uri
