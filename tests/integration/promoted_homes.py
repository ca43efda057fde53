"""Two homes with the features of one small model, which the first has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from millrace.ci.reports.write import write_text
from millrace.ci.stages.scene import DEPLOYMENT_TAG
from millrace.ci.stages.validate import VERDICT
from millrace.features.online.publish import publish_table
from millrace.features.spec import to_json
from millrace.features.types import FeatureLookup, FeatureSpec
from millrace.lake.types import TableDefinition
from millrace.registry.types import ModelName, VersionEntry
from millrace.tracking.types import ModelToLog
from millrace.workspace import Workspace, open_workspace

MODEL = ModelName("ml.models.shop")
TABLE = "ml.features.shop"
NOW = datetime(2025, 6, 2, tzinfo=UTC)
TOML = """
[targets.dev]
home = "dev"
[targets.prod]
home = "prod"
approval = true
"""


@dataclass(frozen=True)
class Homes:
    folder: Path

    def open(self, name: str) -> Workspace:
        workspace = open_workspace(self.folder / name)
        workspace.clock.set(NOW)
        return workspace


def make_homes(folder: Path) -> Homes:
    """`dev` with a judged version of a model, `prod` with its features, and a `millrace.toml` that names both."""
    homes = Homes(folder)
    write_text(folder / "millrace.toml", TOML)
    for name in ("dev", "prod"):
        workspace = homes.open(name)
        fill_features(workspace)
        if name == "dev":
            log_version(workspace)
        workspace.close()
    return homes


def fill_features(workspace: Workspace, kind: pa.DataType | None = None) -> None:
    rows = pa.table(
        {
            "customer_id": pa.array(range(30), pa.int64()),
            "feature_time": pa.array([NOW - timedelta(days=7)] * 30, pa.timestamp("us", "UTC")),
            "spend": pa.array([float(n) for n in range(30)]).cast(kind or pa.float64()),
        }
    )
    definition = TableDefinition(primary_keys=("customer_id",), timeseries_column="feature_time", role="features")
    workspace.lake.create(TABLE, rows.schema, definition)
    workspace.lake.append(TABLE, rows)
    publish_table(workspace.lake, workspace.online, TABLE, as_of=NOW)


def log_version(workspace: Workspace, *, passed: bool = True, threshold: float = 15.0) -> VersionEntry:
    """Train, log, register and judge a version, as CI's stages train and validate leave it."""
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from sklearn.linear_model import LogisticRegression

    frame = pd.DataFrame({"spend": np.arange(30.0)})
    model = LogisticRegression().fit(frame, (frame["spend"] > threshold).astype(int))
    lookup = FeatureLookup(TABLE, "customer_id", feature_names=["spend"], timestamp_lookup_key="label_time")
    spec = FeatureSpec((lookup,), "churned", (), ("spend",))
    signature = ModelSignature(Schema([ColSpec("double", "spend")]), Schema([ColSpec("long")]))
    tracking = workspace.tracking
    run = tracking.start("shop", "linear", {"millrace.pipeline": "shop"}, key=f"training {threshold}")
    tracking.log(run, params={"C": 1.0}, metrics={"roc_auc": 0.9})
    tracking.log_text(run, json.dumps({"rows": 30}), "training_record.json")
    tracking.log_text(run, json.dumps({"bins": [1, 2]}), "reference_profile.json")
    results = [{"gate": "at_least", "passed": passed, "reason": "roc_auc 0.9", "figures": {}}]
    verdict = {"winner": "linear", "passed": passed, "results": results, "metrics": {"linear": {"roc_auc": 0.9}}}
    tracking.log_text(run, json.dumps(verdict), VERDICT)
    uri = tracking.log_model(
        run, "model", ModelToLog(model, "sklearn", signature, None, to_json(spec), ("scikit-learn",))
    )
    tracking.finish(run)
    deployment = {"endpoint": "shop", "staging": "shop-staging", "capture": ["main", "ml", "shop"], "canary": None}
    tags = {"millrace.pipeline": "shop", "millrace.commit.abc": "2025-06-02", DEPLOYMENT_TAG: json.dumps(deployment)}
    return workspace.registry.register(MODEL, uri, str(run), tags)
