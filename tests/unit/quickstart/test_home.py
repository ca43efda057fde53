"""What a quickstart may delete: what a quickstart made, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.errors import AlreadyExists, Conflict
from millrace.quickstart.home import fresh_home
from millrace.targets.local_server import only_server
from millrace.workspace import open_workspace

ROWS = pa.table({"id": [1]})


def lived_in(home: Path, *tables: str) -> None:
    """A home that a quickstart left, with these tables."""
    with fresh_home(home, 1) as (workspace, _):
        workspace.home_settings.set("pipelines", {"customer_churn": "pipeline.py"})
        for name in tables:
            workspace.lake.ensure(name, ROWS.schema)


def in_mlflow(home: Path, experiment: str, model: str | None = None) -> None:
    """An MLflow database with a run, as far as the quickstart looks at it."""
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS experiments (experiment_id INTEGER, name TEXT)")
        connection.execute("CREATE TABLE IF NOT EXISTS runs (experiment_id INTEGER)")
        connection.execute("CREATE TABLE IF NOT EXISTS registered_models (name TEXT)")
        connection.execute("INSERT INTO experiments VALUES (0, 'Default'), (1, ?)", [experiment])
        connection.execute("INSERT INTO runs VALUES (1)")
        if model:
            connection.execute("INSERT INTO registered_models VALUES (?)", [model])
        connection.commit()


def test_what_a_quickstart_left_is_deleted(tmp_path: Path) -> None:
    lived_in(
        tmp_path,
        "bronze.transactions",
        "ml.features.customer_churn_features",
        "ml.labels.churn_labels",
        "ml.inference_logs.customer_churn_payload",
        "ml.monitoring.customer_churn_predictions_drift_metrics",
    )
    in_mlflow(tmp_path, "customer_churn", "ml.models.customer_churn")
    with fresh_home(tmp_path, 1) as (workspace, found):
        assert "interrupted" in found
        assert workspace.lake.catalog.list() == []
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    "name", ["ml.features.mine", "ml.labels.mine", "bronze.transactions_2024", "ml.monitoring.mine_drift_metrics"]
)
def test_a_table_of_ones_own_beside_the_quickstarts_is_left_alone(tmp_path: Path, name: str) -> None:
    lived_in(tmp_path, "bronze.transactions", name)
    with pytest.raises(AlreadyExists, match=f"holds {name}, which no quickstart made"), fresh_home(tmp_path, 1):
        pass
    workspace = open_workspace(tmp_path)
    assert workspace.lake.exists(name)
    workspace.close()


@pytest.mark.parametrize(
    ("experiment", "model", "said"),
    [
        ("mine", None, "the MLflow experiment mine"),
        ("customer_churn", "mine", "the model mine"),
    ],
)
def test_runs_and_models_of_ones_own_are_left_alone(
    tmp_path: Path, experiment: str, model: str | None, said: str
) -> None:
    lived_in(tmp_path)
    in_mlflow(tmp_path, experiment, model)
    with pytest.raises(AlreadyExists, match=said), fresh_home(tmp_path, 1):
        pass
    assert (tmp_path / "mlflow.db").exists()


def test_a_home_without_a_quickstart_is_cleaned_only_when_nothing_is_in_it(tmp_path: Path) -> None:
    open_workspace(tmp_path).close()
    in_mlflow(tmp_path, "customer_churn")
    with pytest.raises(AlreadyExists, match="the MLflow experiment customer_churn"), fresh_home(tmp_path, 1):
        pass
    (tmp_path / "mlflow.db").unlink()
    with fresh_home(tmp_path, 1) as (_, found):
        assert "empty home" in found


def test_a_home_that_is_served_is_left_alone_though_its_server_does_not_answer(tmp_path: Path) -> None:
    lived_in(tmp_path, "bronze.transactions")
    with only_server(tmp_path), pytest.raises(Conflict, match="being served already"), fresh_home(tmp_path, 1):
        pass
    workspace = open_workspace(tmp_path)
    assert workspace.lake.exists("bronze.transactions")
    workspace.close()
