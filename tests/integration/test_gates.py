"""Gates in a pipeline that names none: planted faults are refused by the stage, an honest model goes into production with its report."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import millrace as mr
from millrace.lake.types import TableDefinition
from millrace.pipeline import training_parts
from millrace.pipeline.context import Pins, Quiet, RunContext
from millrace.pipeline.load import load_pipeline
from millrace.pipeline.stages.judge import Validate
from millrace.pipeline.stages.stage import Outcome, Stage
from millrace.pipeline.stages.train import BuildTrainingSet, Train
from millrace.registry.types import ModelName
from millrace.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

START, NOW = datetime(2025, 1, 6, tzinfo=UTC), datetime(2025, 6, 2, tzinfo=UTC)
CUSTOMERS, WEEKS = 400, 20
FEATURES, LABELS = "ml.features.people", "ml.labels.churn"
PAGE = """
from datetime import timedelta

import millrace as mr

pipeline = mr.Pipeline(
    name="churn",
    label=mr.Label("ml.labels.churn", "churned", ("customer_id",), "at", known_after=timedelta(days=7)),
    lookups=[mr.FeatureLookup("ml.features.people", "customer_id", timestamp_lookup_key="at", feature_names=["days", "spend", "plan", "region"])],
    candidates=[mr.XGBoost(n_estimators=40, max_depth=3)],
)
"""


def tables() -> tuple[pa.Table, pa.Table]:
    """Features and labels of each customer and week; `refund` is known only because the label is."""
    rng = np.random.default_rng(4)
    rows = CUSTOMERS * WEEKS
    who = np.tile(np.arange(CUSTOMERS), WEEKS)
    times = [START + timedelta(weeks=week) for week in range(WEEKS) for _ in range(CUSTOMERS)]
    days, plan = rng.integers(0, 90, rows).astype(float), rng.integers(0, 3, rows)
    spend, region = rng.gamma(2, 20, rows), rng.choice(["north", "south", "east"], rows)
    line = 0.06 * (days - 45) - 0.02 * spend + 4.0 * ((plan == 2) & (days < 30)) - 1.5 * ((plan == 1) & (days > 60))
    churned = (rng.random(rows) < 1 / (1 + np.exp(-line))).astype(np.int64)
    at = pa.array(times, pa.timestamp("us", "UTC"))
    known = {"days": days, "spend": spend, "plan": plan, "region": region, "refund": churned + rng.normal(0, 0.1, rows)}
    return pa.table({"customer_id": who, "feature_time": at, **known}), pa.table(
        {"customer_id": who, "at": at, "churned": churned}
    )


@dataclass
class Home:
    workspace: Workspace
    root: Path

    @property
    def pipeline(self) -> mr.Pipeline:
        return load_pipeline(self.root / "pipeline.py")

    def judged(self, pipeline: mr.Pipeline, tamper: Callable[[RunContext], None] = lambda _: None) -> Outcome:
        """The stages up to `validate`, in this process."""
        context = RunContext(self.workspace, pipeline, Pins(NOW), _no_target, Quiet())
        trained: list[Stage] = [BuildTrainingSet("g"), *(Train(each, "g") for each in pipeline.candidates)]
        for stage in trained:
            context.outputs[stage.name] = stage.run(context).output
            tamper(context)
        return Validate("g").run(context)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of `millrace`, in this home."""
        line = [sys.executable, "-m", "millrace.cli.main", *words, "--home", str(self.root / "home")]
        return subprocess.run(line, cwd=self.root, capture_output=True, text=True, timeout=200, check=False)


def _no_target() -> Any:
    raise AssertionError("nothing here needs a server")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    root = tmp_path_factory.mktemp("gates")
    workspace = open_workspace(root / "home")
    workspace.clock.set(NOW)
    features, labels = tables()
    workspace.lake.create(
        FEATURES, features.schema, TableDefinition(primary_keys=("customer_id",), timeseries_column="feature_time")
    )
    workspace.lake.append(FEATURES, features)
    workspace.lake.create(LABELS, labels.schema)
    workspace.lake.append(LABELS, labels)
    (root / "pipeline.py").write_text(PAGE)
    yield Home(workspace, root)
    workspace.close()


def looking_up(home: Home, **changes: Any) -> mr.Pipeline:
    lookup = home.pipeline.all_lookups[0]
    return replace(home.pipeline, name="other", lookups=[replace(lookup, **changes)])


def failed(outcome: Outcome) -> dict[str, str]:
    results: Any = outcome.output["results"]
    assert (outcome.status == "refused") is any(not each["passed"] for each in results)
    return {each["gate"]: each["reason"] for each in results if not each["passed"]}


@pytest.mark.long
def test_an_honest_model_goes_into_production_with_its_report(home: Home) -> None:
    ran = home.command("run", str(home.root / "pipeline.py"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = Path(
        next(line for line in ran.stdout.splitlines() if line.startswith("report: ")).removeprefix("report: ")
    )
    page = report.read_text()
    for gate in ("no_leakage", "beats_baselines", "worst_slice", "calibrated", "no_serving_skew", "fast_enough"):
        assert f"</span> {gate}</strong>" in page
    version = home.workspace.registry.by_alias(ModelName("ml.models.churn"), "production")
    assert version is not None
    assert "<title>churn v1: passed</title>" in page
    assert version.tags["millrace.report"] == f"runs:/{version.run_id}/validation/report.html"
    promoted = home.workspace.promotions.read(version.model)[-1].verdict
    assert {each["gate"] for each in promoted["results"]} >= {"calibrated", "fast_enough"}  # type: ignore[attr-defined]
    document = json.loads(report.with_name("verdict.json").read_text())
    assert [each["gate"] for each in document["gates"]][-2:] == ["no_serving_skew", "fast_enough"]


def test_a_leaky_feature(home: Home) -> None:
    leaky = looking_up(home, feature_names=["days", "spend", "plan", "refund"])
    assert failed(home.judged(leaky))["no_leakage"].startswith("refund alone tells the label: its ROC AUC is")


def test_features_from_after_the_rows_time(home: Home) -> None:
    reason = failed(home.judged(looking_up(home, timestamp_lookup_key=None)))["no_leakage"]
    assert "ml.features.people was looked up as it was after the row's time, for 6,400 of 6,400 training rows" in reason


def test_trained_on_its_own_holdout(home: Home) -> None:
    def tamper(context: RunContext) -> None:
        if "scores xgboost" in context.scratch:
            return
        parts = training_parts.of_run(context)
        context.scratch[training_parts.STAGE] = replace(
            parts, train=replace(parts.train, table=pa.concat_tables([parts.train.table, parts.holdout.table]))
        )

    reason = failed(home.judged(replace(home.pipeline, name="other"), tamper))["no_leakage"]
    assert "1,600 rows of the holdout were trained on, by key and time" in reason


class Changed:
    """A model whose probabilities are changed before they are told."""

    def __init__(self, model: Any, change: Callable[[Any, np.ndarray], np.ndarray]) -> None:
        self.model, self.change, self.classes_ = model, change, np.array([0, 1])

    def predict_proba(self, features: Any) -> np.ndarray:
        scores = self.change(features, self.model.predict_proba(features)[:, 1].astype(float))
        return np.column_stack([1 - scores, scores])

    def predict(self, features: Any) -> np.ndarray:
        return (self.predict_proba(features)[:, 1] > 0.5).astype(int)


def turned_in_the_south(features: Any, scores: np.ndarray) -> np.ndarray:
    return np.where(features["region"] == "south", 1 - scores, scores)


def overconfident(features: Any, scores: np.ndarray) -> np.ndarray:
    del features
    odds = 5 * np.log(scores / (1 - scores))
    return np.asarray(1 / (1 + np.exp(-odds)))


def changed(change: Callable[[Any, np.ndarray], np.ndarray]) -> mr.Custom:
    return mr.Custom("changed", lambda data: Changed(mr.XGBoost(n_estimators=40, max_depth=3).fit(data), change))


def on_few_rows(data: Any) -> object:
    """Trees that saw too little for their depth: a line does better."""
    return mr.XGBoost(n_estimators=200, max_depth=8, learning_rate=0.5).fit(
        replace(data, features=data.features.iloc[:300], labels=data.labels[:300])
    )


@pytest.mark.parametrize(
    ("candidate", "gate", "fact"),
    [
        (changed(turned_in_the_south), "worst_slice", "region = 'south'"),
        (changed(overconfident), "calibrated", "off what came true on average"),
        (mr.Custom("few", on_few_rows), "beats_baselines", "worse than a linear model's"),
    ],
)
def test_a_fault_in_the_model(home: Home, candidate: mr.Custom, gate: str, fact: str) -> None:
    assert fact in failed(home.judged(replace(home.pipeline, name="other", candidates=[candidate])))[gate]


# A class of the page's own, which travels in the model's file; asked for one row it thinks for longer than anybody waits.
SLEEPS = """
import sys
import time

import cloudpickle
import numpy as np

cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Sleepy:
    def __init__(self, model):
        self.model, self.classes_ = model, np.array([0, 1])

    def predict_proba(self, features):
        if len(features) == 1:
            time.sleep(0.7)
        return self.model.predict_proba(features)

    def predict(self, features):
        return (self.predict_proba(features)[:, 1] > 0.5).astype(int)


def sleepy(data):
    return Sleepy(mr.XGBoost(n_estimators=40, max_depth=3).fit(data))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "page", "fact"),
    [
        (
            "quick",
            PAGE.replace('name="churn",', 'name="quick", gates=[mr.FastEnough(p99_ms=0.05, requests=20)],'),
            "20 of them over 0.05 ms: surely more than 1 in 100",
        ),
        (
            "sleepy",
            PAGE.replace("import millrace as mr\n", f"import millrace as mr\n{SLEEPS}")
            .replace('name="churn"', 'name="sleepy"')
            .replace("mr.XGBoost(n_estimators=40, max_depth=3)]", 'mr.Custom("sleepy", sleepy, flavor="sklearn")]'),
            "over 500 ms: surely more than 1 in 100",
        ),
    ],
    ids=["by a limit that nothing keeps", "by the default limit"],
)
def test_slow_as_it_is_served(home: Home, name: str, page: str, fact: str) -> None:
    """The honest model above is asked by the same gate, with the default limit."""
    (home.root / f"{name}.py").write_text(page)
    ran = home.command("run", str(home.root / f"{name}.py"), "--json")
    assert ran.returncode == 3, ran.stdout + ran.stderr
    told = json.loads(ran.stdout.strip().splitlines()[-1])
    assert len(told["reasons"]) == 1
    assert fact in told["reasons"][0]
    assert home.workspace.registry.by_alias(ModelName(f"ml.models.{name}"), "production") is None
    assert f"{name} v1: refused" in Path(told["report"]).read_text()


@pytest.mark.long
def test_an_endpoint_that_answers_otherwise_than_offline(home: Home) -> None:
    """Features were refreshed after the training, and nobody has published them: requests are answered from those of before."""
    page = home.root / "skewed.py"
    page.write_text(PAGE.replace('name="churn"', 'name="skewed"'))
    for stage in ("train", "validate"):
        ran = home.command("ci", "run", stage, "--file", str(page))
        assert ran.returncode == 0, ran.stdout + ran.stderr
    customers = np.arange(CUSTOMERS)
    at = pa.array([NOW - timedelta(hours=1)] * CUSTOMERS, pa.timestamp("us", "UTC"))
    known = {"days": np.full(CUSTOMERS, 89.0), "spend": np.zeros(CUSTOMERS), "plan": np.zeros(CUSTOMERS, np.int64)}
    more = {"region": ["east"] * CUSTOMERS, "refund": np.zeros(CUSTOMERS)}
    home.workspace.lake.append(FEATURES, pa.table({"customer_id": customers, "feature_time": at, **known, **more}))
    ran = home.command("ci", "run", "deploy", "--target", "staging", "--file", str(page), "--json")
    assert ran.returncode == 3, ran.stdout + ran.stderr
    checks = {check["name"]: check for check in json.loads(ran.stdout)["checks"]}
    assert checks["staging"]["status"] == "failed"
    assert re.search(r"\d+ of 20 answers differ from offline: ", checks["staging"]["detail"])
    assert home.workspace.registry.by_alias(ModelName("ml.models.skewed"), "staging") is None


def test_gates_can_be_switched_off(home: Home) -> None:
    lax = replace(looking_up(home, feature_names=["days", "refund"]), skip_gates=["no_leakage"])
    outcome = home.judged(lax)
    results: Any = outcome.output["results"]
    assert "no_leakage" not in [each["gate"] for each in results]
    assert "no_leakage" not in failed(outcome)
