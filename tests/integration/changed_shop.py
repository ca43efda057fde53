"""A small home where the world has changed after the first model went live: a retraining is due, and nobody has looked yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from millrace.alerts.types import Episode
from millrace.lake.types import TableDefinition
from millrace.pipeline.attempts import attempts
from millrace.pipeline.context import Quiet
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.execute import run_pipeline
from millrace.pipeline.load import load_pipeline
from millrace.pipeline.plan import Request, build_plan
from millrace.pipeline.retrain import in_production
from millrace.registry.types import ModelName, ModelVersion
from millrace.targets.port import DeploymentTarget
from millrace.training.models import load_native, predict_proba
from millrace.workspace import Workspace, open_workspace
from tests.integration.durable_target import DurableTarget

DAY = timedelta(days=1)
START = datetime(2025, 3, 3, tzinfo=UTC)
LIVE, CHANGED, NOW = START + 28 * DAY, START + 35 * DAY, START + 56 * DAY
MODEL = ModelName("ml.models.shop")
FEATURES, LABELS, LOG = "ml.features.shop", "ml.labels.shop", "ml.inference_logs.shop_predictions"
CUSTOMERS, A_DAY = 240, 40
PAGE = """
from datetime import timedelta

import millrace as mr

DAY = timedelta(days=1)
pipeline = mr.Pipeline(
    name="shop",
    lookups=[mr.FeatureLookup("ml.features.shop", "customer_id", timestamp_lookup_key="label_time")],
    label=mr.Label("ml.labels.shop", "churned", ("customer_id",), "label_time", known_after=DAY),
    candidates=[mr.Linear(), mr.Dummy()],
    gates=[mr.AtLeast(roc_auc=0.6)],
    skip_gates=["fast_enough"],  # what stands in for a server here loads the model for each question
    split=mr.Split(holdout=7 * DAY, train=13 * DAY),
    alerts=mr.Alert(on=("drift", "performance"), channels=["CHANNEL"], inhibitions=()),
    retrain=mr.Retrain(on=("drift", "performance"), min_new_labels=300),
)
"""


def prepare(home: Path, page: Path, channel: str) -> None:
    """Four weeks of labels, a first model, four weeks of traffic, of which three are of a changed world; not looked at yet."""
    page.write_text(PAGE.replace("CHANNEL", channel))
    workspace = open_workspace(home)
    workspace.clock.set(LIVE)
    rows = _rows()
    _fill(workspace, rows)
    workspace.home_settings.set("pipelines", {"shop": str(page)})
    first = Request(parts=frozenset({"refresh", "train"}))
    report = run_pipeline(workspace, load_pipeline(page), lambda: served_by(workspace), Quiet(), first)
    assert report.status == "done", report
    workspace.clock.set(NOW)
    _log(workspace, rows)
    workspace.close()


@contextmanager
def served_by(workspace: Workspace) -> Iterator[DeploymentTarget]:
    yield cast("DeploymentTarget", DurableTarget(workspace))


def _rows() -> pa.Table:
    """Forty customers a day. Spend and visits keep customers; after the change spend drives them away, and there are more visits."""
    random, days = np.random.default_rng(7), (NOW - START).days
    day = np.repeat(np.arange(days), A_DAY)
    changed = day >= (CHANGED - START).days
    spend, visits = random.normal(size=len(day)), random.normal(np.where(changed, 2.0, 0.0))
    left = random.random(len(day)) < 1 / (1 + np.exp(np.where(changed, -3.0, 3.0) * spend + visits))
    return pa.table(
        {
            "customer_id": pa.array(np.arange(len(day)) % CUSTOMERS),
            "label_time": pa.array([START + int(n) * DAY for n in day], pa.timestamp("us", "UTC")),
            "spend": spend,
            "visits": visits,
            "churned": left.astype(int),
        }
    )


def _fill(workspace: Workspace, rows: pa.Table) -> None:
    features = rows.select(["customer_id", "label_time", "spend", "visits"])
    features = features.rename_columns(["customer_id", "feature_time", "spend", "visits"])
    keyed = TableDefinition(primary_keys=("customer_id",), timeseries_column="feature_time")
    workspace.lake.create(FEATURES, features.schema, keyed)
    workspace.lake.append(FEATURES, features)
    labels = rows.select(["customer_id", "label_time", "churned"])
    workspace.lake.create(LABELS, labels.schema)
    workspace.lake.append(LABELS, labels)


def _log(workspace: Workspace, rows: pa.Table) -> None:
    """What the endpoint would have logged of questions at noon, each day about that day's customers."""
    import pyarrow.compute as pc

    rows = rows.filter(pc.greater_equal(rows.column("label_time"), pa.scalar(LIVE, pa.timestamp("us", "UTC"))))
    model = load_native(workspace.registry.download(MODEL, ModelVersion("1")))
    chances = predict_proba(model, rows.select(["spend", "visits"]).to_pandas())
    count = rows.num_rows
    noon = pc.add(rows.column("label_time"), pa.scalar(DAY / 2, pa.duration("us")))
    log = pa.table(
        {
            "request_id": [f"request-{n}" for n in range(count)],
            "row": pa.array([0] * count, pa.int32()),
            "timestamp": noon,
            "client_request_id": pa.nulls(count, pa.string()),
            "endpoint": ["shop"] * count,
            "model_name": [str(MODEL)] * count,
            "model_version": ["1"] * count,
            "customer_id": rows.column("customer_id"),
            "spend": rows.column("spend"),
            "visits": rows.column("visits"),
            "prediction": (chances > 0.5).astype(float),
            "probability": chances,
            "actual_label": pa.nulls(count, pa.float64()),
            "label_time": pa.nulls(count, pa.timestamp("us", "UTC")),
            "features": ["[]"] * count,
        }
    )
    workspace.lake.create(LOG, log.schema, TableDefinition(role="inference_log", properties={"endpoint": "shop"}))
    workspace.lake.append(LOG, log)


def picture(home: Path, page: Path) -> dict[str, Any]:
    """Everything that a retraining leaves, without what is random: numbers of MLflow's runs and models."""
    workspace = open_workspace(home)
    try:
        return _picture(workspace, load_pipeline(page))
    finally:
        workspace.close()


def _picture(workspace: Workspace, pipeline: Pipeline) -> dict[str, Any]:
    champion = in_production(workspace, pipeline)
    assert champion is not None
    plan = build_plan(workspace, pipeline)
    versions = workspace.registry.versions(MODEL)
    log = workspace.lake.read(LOG)
    return {
        "runs": sorted(_run(workspace, run) for run in workspace.tracking.list("shop")),
        "versions": [(str(one.version), one.aliases, _tags(one)) for one in versions],
        "promotions": [
            (one.version, one.alias, one.replaced, one.why, one.verdict.get("metrics"))
            for one in workspace.promotions.read()
        ],
        "deployed": DurableTarget(workspace).deployed(),
        "episodes": [(int(one.id), one.kind, one.status, one.closed_at, one.owed) for one in workspace.episodes.list()],
        "notes": [_notes(workspace, one) for one in workspace.episodes.list()],
        "attempts": [(str(one.trigger), one.outcome) for one in attempts(workspace, pipeline, champion)],
        "events": sorted(
            (one.kind, one.subject, str(sorted(one.data.items())))
            for one in workspace.events.read()
            if one.kind != "run.finished"
        ),
        "labelled": log.num_rows - log.column("actual_label").null_count,
        "left to do": [step.stage.name for step in plan.needed],
        "decision": (plan.decision.state, plan.decision.reason),
    }


def _notes(workspace: Workspace, episode: Episode) -> list[str]:
    """Its history, without what kept it from being told for a moment, which depends on what was noticed first."""
    return [note.text for note in workspace.episodes.notes(episode.id) if "not told" not in note.text]


def _run(workspace: Workspace, run: Any) -> tuple[str, str, str, int]:
    client = workspace.tracking._client  # type: ignore[attr-defined]
    models = [client.get_logged_model(each.model_id) for each in client.get_run(run.id).outputs.model_outputs]
    ready = sum(
        model.status == "READY" for model in models
    )  # one that was being stored stays pending, and is never loaded
    return (run.name, run.tags.get("millrace.retraining", ""), run.status, ready)


def _tags(version: Any) -> list[tuple[str, str]]:
    """Where the report is has the run's id in it, which is another each time, as the source of the files is."""
    tags = {name: value for name, value in version.tags.items() if name != "millrace.source"}
    return sorted((name, value.replace(str(version.run_id), "RUN")) for name, value in tags.items())
