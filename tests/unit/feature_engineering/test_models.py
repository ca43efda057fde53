from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from millrace.core.errors import InvalidInput
from millrace.feature_engineering import FeatureEngineeringClient
from millrace.workspace import Workspace
from tests.unit.feature_engineering.customers import lookup, training_set, wide

if TYPE_CHECKING:
    import pandas as pd

pytestmark = [
    # MLflow's own, while models are logged and read.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def fitted(kind: str, inputs: pd.DataFrame, labels: pd.Series[int]) -> tuple[Any, Any]:
    """A model and its flavor's module."""
    if kind == "xgboost":
        import mlflow.xgboost
        import xgboost

        return xgboost.XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1).fit(inputs, labels), mlflow.xgboost
    import mlflow.sklearn
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=2).fit(inputs, labels), mlflow.sklearn


@pytest.mark.parametrize("kind", ["sklearn", "xgboost"])
def test_batch_scores_are_what_the_model_says_of_the_offline_features(
    client: FeatureEngineeringClient, features: str, kind: str
) -> None:
    trained = training_set(client, features, wide(60), exclude_columns=["customer_id", "at"])
    model, flavor = fitted(kind, trained.inputs(), trained.to_pandas()["label"])
    logged = client.log_model(
        model=model,
        flavor=flavor,
        training_set=trained,
        registered_model_name=f"ml.models.{kind}",
        infer_input_example=True,
    )
    assert (logged.registered_model_name, logged.version) == (f"ml.models.{kind}", "1")

    asked = wide(25).drop(columns="label")
    offline = client.create_training_set(
        df=asked, feature_lookups=[lookup(features)], label=None, exclude_columns=["customer_id", "at"]
    )
    expected = model.predict(offline.inputs()).tolist()
    assert len(set(expected)) == 2
    for uri in (logged.model_uri, f"models:/ml.models.{kind}/1"):
        scored = client.score_batch(model_uri=uri, df=asked)
        assert dict(scored.dtypes)["prediction"] == "double"
        found = scored.toArrow().to_pandas()
        assert found["customer_id"].tolist() == asked["customer_id"].tolist()
        assert found["prediction"].tolist() == expected
        assert found["spend"].tolist() == offline.to_pandas()["spend"].tolist()


def test_a_feature_that_the_rows_have_is_not_looked_up(client: FeatureEngineeringClient, model_uri: str) -> None:
    asked = wide(4).drop(columns="label").assign(spend=[1.5, 2.5, 3.5, 4.5])
    found = client.score_batch(model_uri=model_uri, df=asked).toArrow()
    assert found.column("spend").to_pylist() == [1.5, 2.5, 3.5, 4.5]
    assert found.column("visits").null_count == 0


@pytest.mark.parametrize(
    ("result_type", "kind"), [("double", "double"), ("int", "int"), ("bigint", "bigint"), ("string", "string")]
)
def test_predictions_come_in_the_type_that_was_asked_for(
    client: FeatureEngineeringClient, model_uri: str, result_type: str, kind: str
) -> None:
    scored = client.score_batch(model_uri=model_uri, df=wide(3).drop(columns="label"), result_type=result_type)
    assert dict(scored.dtypes)["prediction"] == kind


def test_an_alias_names_a_model(client: FeatureEngineeringClient, workspace: Workspace, model_uri: str) -> None:
    del model_uri
    (version,) = workspace.registry.versions("ml.models.tree")  # type: ignore[arg-type]
    workspace.registry.set_alias(version.model, "production", version.version)
    assert client.score_batch(model_uri="models:/ml.models.tree@production", df=wide(3)).count() == 3


def test_a_model_is_found_in_its_home_whatever_store_mlflow_is_set_to(
    client: FeatureEngineeringClient, model_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", other)
    assert client.score_batch(model_uri=model_uri, df=wide(3)).count() == 3


def test_what_a_score_was_made_from_is_kept(
    client: FeatureEngineeringClient, workspace: Workspace, features: str, model_uri: str
) -> None:
    client.score_batch(model_uri=model_uri, df=wide(3))
    event = workspace.events.read(kind="batch.scored", subject=model_uri)[-1]
    pinned = workspace.lake.pin(features, workspace.clock.now())
    assert event.data == {"model_id": model_uri.rpartition("/")[2], "rows": 3, "tables": [str(pinned)]}
    assert (event.at, event.by) == (workspace.clock.now(), workspace.principal)


def test_a_model_is_logged_in_the_users_own_run(
    client: FeatureEngineeringClient, workspace: Workspace, features: str
) -> None:
    import mlflow
    import mlflow.sklearn

    trained = training_set(client, features, wide(60), exclude_columns=["customer_id", "at"])
    model, flavor = fitted("sklearn", trained.inputs(), trained.to_pandas()["label"])
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(workspace.settings.mlflow_url)
    try:
        with mlflow.start_run() as run:
            logged = client.log_model(model=model, flavor=flavor, training_set=trained)
            assert mlflow.active_run() is not None
        assert (logged.run_id, logged.version) == (run.info.run_id, None)
    finally:
        mlflow.set_tracking_uri(before)


def test_a_model_without_lookups_scores_columns_as_they_are(client: FeatureEngineeringClient) -> None:
    import mlflow.sklearn
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
    model = LogisticRegression().fit(rows, [0, 0, 1, 1])
    logged = client.log_model(
        model=model,
        flavor=mlflow.sklearn,
        signature=infer_signature(rows, model.predict(rows)),
        input_example=rows.head(1),
    )
    found = client.score_batch(model_uri=logged.model_uri, df=rows[["b", "a"]]).toArrow()
    assert found.column("prediction").to_pylist() == [0.0, 0.0, 1.0, 1.0]
    with pytest.raises(InvalidInput, match="'a'"):
        client.score_batch(model_uri=logged.model_uri, df=rows[["b"]])


@pytest.mark.parametrize("before", ["import mlflow", "import os"])
def test_runs_beside_the_client_are_of_its_home(tmp_path: Path, before: str) -> None:
    program = f"""
{before}
from pathlib import Path
from millrace.feature_engineering import FeatureEngineeringClient
from millrace.workspace import open_workspace
workspace = open_workspace(Path("home"))
FeatureEngineeringClient(workspace=workspace)
import mlflow
assert mlflow.get_tracking_uri() == workspace.settings.mlflow_url, mlflow.get_tracking_uri()
mlflow.set_tracking_uri("sqlite:///elsewhere.db")
FeatureEngineeringClient(workspace=workspace)
assert mlflow.get_tracking_uri() == "sqlite:///elsewhere.db"
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=300)
