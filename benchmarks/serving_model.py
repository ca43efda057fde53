"""What the serving benchmark serves: one XGBoost classifier, in a home of ours and as a folder for the peers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from millrace.workspace import Workspace

FEATURES = tuple(f"f{number:02d}" for number in range(20))
KEYS = 1_000_000
BY_FEATURES, BY_KEY, FEATURES_ONLY = "by-features", "by-key", "features-only"
_TABLE, _SPEC, _TREES, _DEPTH, _TRAINED_ON, _SEED = (
    "ml.bench.customers",
    "ml.specs.customers",
    100,
    6,
    20_000,
    20_250_101,
)


@dataclass(frozen=True)
class Served:
    """A model, made.

    Attributes:
        folder: its MLflow folder.
        file: its XGBoost file, inside.
        home: of ours, with three endpoints: `by-features` takes the features, `by-key` looks them up, `features-only` answers with
            what it looks up.
        token: opens the home's server.
        rows: questions, (n, 20) float64 of six digits; row k is what the online store has of key k.
        labels: the model's own answers, (n,) of 0 and 1.
        paths: by endpoint, how our server says that it predicts.
    """

    folder: Path
    file: Path
    home: Path
    token: str
    rows: np.ndarray
    labels: np.ndarray
    paths: Mapping[str, str]


def make(folder: Path, asked: int) -> Served:
    """Train the model, register it, publish its features, deploy both endpoints.

    Args:
        folder: where all is kept; empty.
        asked: how many rows are kept as questions.
    """
    from millrace.api.discovery import running_server
    from millrace.workspace import open_workspace

    generator = np.random.default_rng(_SEED)
    model = _trained(generator)
    values = generator.random((KEYS, len(FEATURES))).round(6)
    home = folder / "home"
    workspace = open_workspace(home)
    try:
        _publish(workspace, values)
        logged = [_register(workspace, name, model, values[:_TREES]) for name in (BY_FEATURES, BY_KEY)]
        with running_server(home) as server:
            _deploy(workspace, server.url)
            paths = _paths(server.url, (home / "token").read_text().strip())
    finally:
        workspace.close()
    shutil.copytree(logged[0], folder / "model")
    rows = values[:asked].copy()
    token = (home / "token").read_text().strip()
    return Served(folder / "model", folder / "model" / "model.ubj", home, token, rows, model.predict(rows), paths)


def _trained(generator: np.random.Generator) -> Any:
    from xgboost import XGBClassifier

    rows = generator.random((_TRAINED_ON, len(FEATURES)))
    # Something to learn: a few features, their products, and noise.
    score = rows[:, 0] + rows[:, 1] * rows[:, 2] - rows[:, 3] * rows[:, 4] + generator.normal(0, 0.2, _TRAINED_ON)
    model = XGBClassifier(n_estimators=_TREES, max_depth=_DEPTH, learning_rate=0.1, random_state=_SEED, n_jobs=1)
    return model.fit(rows, score > np.median(score))


def _publish(workspace: Workspace, values: np.ndarray) -> None:
    from millrace.features.online.publish import publish_table
    from millrace.features.tables import create_feature_table

    now = workspace.clock.now()
    schema = pa.schema({"k": pa.int64(), "ts": pa.timestamp("us", "UTC")} | {name: pa.float64() for name in FEATURES})
    create_feature_table(workspace.lake, _TABLE, schema, primary_keys="k", timeseries_column="ts")
    stamps = pa.repeat(pa.scalar(now - timedelta(hours=1), schema.field("ts").type), len(values))
    columns = [pa.array(np.arange(len(values))), stamps, *map(pa.array, values.T.copy())]
    workspace.lake.append(_TABLE, pa.table(columns, schema))
    publish_table(workspace.lake, workspace.online, _TABLE, as_of=workspace.clock.now(), mode="SNAPSHOT")


def _register(workspace: Workspace, name: str, model: Any, rows: np.ndarray) -> Path:
    import pandas as pd
    from mlflow.models import infer_signature

    from millrace.features.spec import to_json
    from millrace.features.types import FeatureLookup, FeatureSpec
    from millrace.registry.types import ModelName
    from millrace.tracking.types import ModelToLog
    from millrace.training.fit import requirements_of

    frame = pd.DataFrame(rows, columns=list(FEATURES))
    spec = FeatureSpec((FeatureLookup(_TABLE, "k"),), None, (), FEATURES) if name == BY_KEY else None
    logged = ModelToLog(
        model,
        "xgboost",
        infer_signature(frame, model.predict(rows)),
        example=frame.head(5),
        feature_spec=to_json(spec) if spec else None,
        requirements=requirements_of(model),
    )
    run = workspace.tracking.start("bench", name, {})
    uri = workspace.tracking.log_model(run, "model", logged)
    workspace.tracking.finish(run)
    entry = workspace.registry.register(ModelName(_model(name)), uri, run, {})
    return workspace.registry.download(entry.model, entry.version)


def _model(endpoint: str) -> str:
    return f"ml.models.{endpoint.replace('-', '_')}"


def _deploy(workspace: Workspace, url: str) -> None:
    """All endpoints, with capture: what is asked and answered is kept."""
    from millrace.feature_engineering import (
        AutoCaptureConfig,
        EndpointCoreConfig,
        FeatureEngineeringClient,
        FeatureLookup,
        ServedEntity,
    )
    from millrace.targets.adapters.millrace_http import MillraceTarget
    from millrace.targets.types import DeploymentSpec

    target = MillraceTarget(url, (workspace.home / "token").read_text().strip())
    for name in (BY_FEATURES, BY_KEY):
        done = target.deploy(
            DeploymentSpec(name, _model(name), "1", ("main", "inference_logs", name.replace("-", "_")))
        )
        if done.state != "ready":
            raise SystemExit(f"endpoint {name} is {done.state}: {done.message}")
    target.close()
    client = FeatureEngineeringClient(workspace=workspace)
    client.create_feature_spec(name=_SPEC, features=[FeatureLookup(_TABLE, "k")])
    capture = AutoCaptureConfig("main", "inference_logs", FEATURES_ONLY.replace("-", "_"))
    config = EndpointCoreConfig(served_entities=ServedEntity(feature_spec_name=_SPEC), auto_capture_config=capture)
    client.create_feature_serving_endpoint(name=FEATURES_ONLY, config=config)


def _paths(url: str, token: str) -> Mapping[str, str]:
    import httpx

    headers = {"authorization": f"Bearer {token}"}
    told = httpx.get(f"{url}/api/millrace/status", headers=headers, timeout=60).raise_for_status().json()
    return {endpoint["name"]: ", ".join(endpoint["paths"].values()) for endpoint in told["endpoints"]}
