"""One small pipeline lived through for real: refused, promoted, idle, refreshed, killed, resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.api.discovery import running_server
from millrace.cli.main import main
from millrace.features.spec import from_json
from millrace.pipeline.context import Quiet
from millrace.pipeline.execute import RunReport, run_pipeline
from millrace.pipeline.load import load_pipeline
from millrace.registry.types import ModelName
from millrace.tracking.types import RunId
from millrace.training.models import feature_spec_of
from millrace.workspace import Workspace, open_target, open_workspace

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, while models are logged and read in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

START, WEEK = datetime(2025, 3, 3, tzinfo=UTC), timedelta(days=7)
NOW = START + 6 * WEEK
MODEL = ModelName("ml.models.shop")
PAGE = '''
from datetime import UTC, datetime, timedelta

import millrace as mr
from pyspark.sql import functions as F

WEEK = timedelta(days=7)
START = datetime(2025, 3, 3, tzinfo=UTC)
purchases = mr.Source("bronze.purchases", event_time="at")


@mr.feature_table("ml.features.shop", keys=["customer_id"], every=WEEK, start=START)
def features(as_of, tx=purchases):
    """What each customer had bought."""
    since = F.datediff(F.lit(as_of), F.max("at"))
    return tx.groupBy("customer_id").agg(F.count("*").alias("purchases"), F.sum("amount").alias("spend"), since.alias("since"))


@mr.feature_function("ml.functions.spend_per_day")
def spend_per_day(spend: float, since: int, at: datetime) -> float | None:
    """Spend over the days since the last purchase, on weekdays."""
    return None if at.weekday() > 4 else spend / (1 + since)


@mr.label_table("ml.labels.shop", keys=["customer_id"], column="churned", horizon=2 * WEEK, every=WEEK, start=START)
def labels(time, end, tx=purchases):
    """Who bought nothing in two weeks?"""
    after = F.max((F.col("at") > F.lit(time)).cast("int"))
    found = tx.groupBy("customer_id").agg((1 - after).alias("churned"), F.min("at").alias("first"))
    return found.where(F.col("first") <= F.lit(time)).drop("first")


pipeline = mr.Pipeline(
    name="shop",
    features=[features],
    lookups=[
        mr.FeatureFunction("ml.functions.spend_per_day", {"spend": "spend", "since": "since", "at": "label_time"}, "per_day")
    ],
    label=labels,
    candidates=[mr.Linear(), mr.Dummy()],
    gates=[mr.AtLeast(roc_auc=THRESHOLD), mr.BeatsBaselines()],
    split=mr.Split(holdout=WEEK),
)
'''


def purchases_between(first: datetime, last: datetime, seed: int) -> pa.Table:
    """Purchases of 300 customers, half of whom buy about every third day and half about every third week."""
    days, random = (last - first).days, np.random.default_rng(seed)
    often = np.where(np.arange(300) % 2 == 0, 1 / 3, 1 / 21)
    who, day = np.nonzero(random.random((300, days)) < often[:, None])
    return pa.table(
        {
            "customer_id": pa.array(who, pa.int64()),
            "at": pa.array([first + timedelta(days=int(n), hours=9) for n in day], pa.timestamp("us", "UTC")),
            "amount": pa.array(np.round(random.gamma(2.0, 10.0, len(who)), 2)),
        }
    )


# `millrace` that is killed when the version is made, and not yet written down as made.
_KILLED_AFTER_REGISTERING = """
import os, signal, sys
from millrace.cli.main import main
from millrace.pipeline.stages.deploy import Register

def run(stage, context, whole=Register.run):
    whole(stage, context)
    os.kill(os.getpid(), signal.SIGKILL)

Register.run = run
sys.exit(main())
"""


@dataclass
class Home:
    """A home with a page beside it."""

    path: Path
    page: Path
    workspace: Workspace

    def gate(self, threshold: float) -> None:
        self.page.write_text(PAGE.replace("THRESHOLD", str(threshold)))

    def run(self) -> RunReport:
        return run_pipeline(self.workspace, load_pipeline(self.page), lambda: open_target(self.workspace), Quiet())

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "millrace.cli.main", *arguments, str(self.page), "--home", str(self.path)]

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=400, check=False)

    def killed(self, *arguments: str) -> str:
        """What it said until it was killed."""
        command = [sys.executable, "-c", _KILLED_AFTER_REGISTERING, *self.command(*arguments)[3:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        return done.stderr

    def versions(self) -> list[str]:
        return [str(entry.version) for entry in self.workspace.registry.versions(MODEL)]

    def in_production(self) -> str | None:
        found = self.workspace.registry.by_alias(MODEL, "production")
        return None if found is None else str(found.version)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    root = tmp_path_factory.mktemp("pipeline")
    workspace = open_workspace(root / "home")
    workspace.clock.set(NOW)
    rows = purchases_between(START - 3 * WEEK, NOW, seed=1)
    workspace.lake.create("bronze.purchases", rows.schema)
    workspace.lake.append("bronze.purchases", rows)
    with running_server(root / "home"):
        yield Home(root / "home", root / "pipeline.py", workspace)
    workspace.close()


@dataclass
class Story:
    """What happened, in order."""

    refused: subprocess.CompletedProcess[str]
    refused_again: RunReport
    versions_after_refusal: list[str]
    first: RunReport
    at_once: RunReport
    after_a_week: RunReport
    killed_output: str
    production_after_kill: str | None
    resumed: subprocess.CompletedProcess[str]
    idle: RunReport


@pytest.fixture(scope="module")
def story(home: Home) -> Story:
    """Run it all once; the tests below look at it."""
    home.gate(0.9999)
    refused, again = home.cli("run", "--json"), home.run()
    versions = home.versions()
    home.gate(0.6)
    first, at_once = home.run(), home.run()
    home.workspace.clock.set(NOW + WEEK)
    home.workspace.lake.append("bronze.purchases", purchases_between(NOW, NOW + WEEK, seed=2))
    after_a_week = home.run()
    killed = home.killed("run", "--retrain")
    production = home.in_production()
    resumed = home.cli("run", "--retrain")
    return Story(refused, again, versions, first, at_once, after_a_week, killed, production, resumed, home.run())


def _last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_gates_that_say_no_are_a_result_with_an_exit_code(story: Story) -> None:
    assert story.refused.returncode == 3, story.refused.stderr
    report = _last_json(story.refused)
    assert report["status"] == "refused"
    assert report["stages"][-1]["name"] == "validate"
    (reason,) = report["reasons"]
    assert "roc_auc" in reason
    assert story.versions_after_refusal == []


def test_the_refusal_stands_while_nothing_changes(story: Story) -> None:
    assert (story.refused_again.status, story.refused_again.stages) == ("refused", ())
    (reason,) = story.refused_again.reasons
    assert _last_json(story.refused)["reasons"] == [f"linear is best, but: {reason}"]


def test_the_first_run_ends_in_production(story: Story, home: Home) -> None:
    assert story.first.status == "done"
    assert [stage.name for stage in story.first.stages] == [
        "training set",
        "train linear",
        "train dummy",
        "validate",
        "register",
        "staging",
        "production",
    ]
    details = {stage.name: stage.detail for stage in story.first.stages}
    assert details["staging"] == "20 answers over HTTP, all equal to offline; fast enough"
    assert details["production"] == "shop serves v1"
    moves = [(move.version, move.alias, move.replaced) for move in home.workspace.promotions.read()]
    assert moves[:2] == [("1", "staging", None), ("1", "production", None)]


def test_the_models_carry_the_function_that_the_page_declares(story: Story, home: Home) -> None:
    assert story.first.status == "done"
    (kept,) = home.workspace.functions.list()
    assert (kept.definition.name, kept.version) == ("ml.functions.spend_per_day", 1)
    assert kept.definition.source.startswith("def spend_per_day(spend: float, since: int, at: datetime)")
    (version, *_) = home.workspace.registry.versions(MODEL)
    spec = from_json(feature_spec_of(home.workspace.registry.download(MODEL, version.version)) or "")
    assert [(each.function, each.output) for each in spec.functions] == [(kept.definition, "per_day")]
    assert spec.inputs[-1] == "per_day"
    record = json.loads(home.workspace.tracking.read_text(RunId(str(version.run_id)), "training_record.json"))
    assert set(record["code"]) == {"ml.functions.spend_per_day", "ml.features.shop", "ml.labels.shop"}
    assert record["code"]["ml.functions.spend_per_day"] == kept.definition.code_hash


def test_at_once_again_nothing_runs(story: Story) -> None:
    assert story.at_once == RunReport("nothing", ())


def test_new_rows_and_a_week_later_only_features_are_refreshed(story: Story) -> None:
    assert [stage.name for stage in story.after_a_week.stages] == [
        "features ml.features.shop",
        "labels ml.labels.shop",
        "publish ml.features.shop",
    ]
    details = [stage.detail for stage in story.after_a_week.stages]
    assert details[0].startswith("1 snapshots, ")
    assert details[1].startswith("1 snapshots, ")


def test_a_killed_run_goes_on_and_says_so(story: Story) -> None:
    assert story.production_after_kill == "1"
    assert "[ok] train linear" in story.killed_output
    assert story.resumed.returncode == 0, story.resumed.stderr
    assert "went on where it stopped" in story.resumed.stdout
    assert "[--] train linear" in story.resumed.stderr
    assert "[ok] train linear" not in story.resumed.stderr
    assert "[ok] register" in story.resumed.stderr
    assert "shop serves v2" in story.resumed.stderr


def test_a_killed_run_makes_no_second_version_and_no_second_run(story: Story, home: Home) -> None:
    assert story.resumed.returncode == 0
    assert home.versions() == ["1", "2"]
    assert home.in_production() == "2"
    statuses = [run.status for run in home.workspace.runs.runs("shop")]
    assert statuses == ["done", "interrupted", "done", "done", "refused"]
    moves = [(move.version, move.alias, move.replaced) for move in home.workspace.promotions.read()]
    assert moves[2:] == [("2", "staging", "1"), ("2", "production", "1")]


def test_after_all_there_is_nothing_to_do(story: Story) -> None:
    assert story.idle == RunReport("nothing", ())


def test_the_tracked_runs_are_one_per_training_and_candidate(story: Story, home: Home) -> None:
    assert story.idle.status == "nothing"
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=home.workspace.settings.mlflow_url)
    experiment = client.get_experiment_by_name("shop")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["dummy"] * 3 + ["linear"] * 3
    assert {run.info.status for run in runs} == {"FINISHED"}


# What the commands tell of it. The last one changes it.


def _told(home: Home, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, dict[str, Any]]:
    """A command's text, and its JSON."""
    texts = []
    for more in ([], ["--json"]):
        assert main([*arguments, "--home", str(home.path), *more]) == 0
        texts.append(capsys.readouterr().out)
    return texts[0], json.loads(texts[1])


def test_plan_says_what_would_run(story: Story, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert story.idle.status == "nothing"
    text, plan = _told(home, capsys, "plan", str(home.page))
    assert text.endswith("nothing to do\n")
    assert plan["training"] == "production serves v2; no retraining is asked for: no open episode for v2"
    assert not any(step["run"] for step in plan["steps"])
    text, plan = _told(home, capsys, "plan", str(home.page), "--as-of", "2025-04-07")
    assert plan["due"] == "2025-04-07T00:00:00Z"
    assert [step["stage"] for step in plan["steps"] if step["run"]][-3:] == ["register", "staging", "production"]
    assert "stages would run, as of 2025-04-07 00:00" in text


def test_status_says_where_the_loop_stands(story: Story, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert story.idle.status == "nothing"
    text, facts = _told(home, capsys, "status")
    (production,) = facts["production"]
    assert (production["model"], production["version"], production["why"]) == ("ml.models.shop", "2", "asked for")
    assert {endpoint["name"]: endpoint["serves"] for endpoint in facts["endpoints"]} == {
        "shop": "ml.models.shop v2",
        "shop-staging": "ml.models.shop v2",
    }
    (pipeline,) = facts["pipelines"]
    assert (pipeline["name"], pipeline["last_run"]) == ("shop", "done")
    assert pipeline["retraining"] == "calm: no open episode for v2"
    customers = set(home.workspace.lake.read("bronze.purchases").column("customer_id").to_pylist())
    assert facts["online"][0]["keys"] == len(customers)
    for expected in ("virtual", facts["server"], "ml.models.shop", str(home.page)):
        assert expected in text


def test_log_says_who_promoted_what_and_why(story: Story, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert story.idle.status == "nothing"
    text, log = _told(home, capsys, "log", "--model", "ml.models.shop")
    first, last = log["promotions"][1], log["promotions"][-1]
    assert (first["version"], first["alias"], first["why"]) == ("1", "production", "nothing is in production")
    assert (last["version"], last["alias"], last["replaced"], last["why"]) == ("2", "production", "1", "asked for")
    assert last["verdict"]["metrics"]["roc_auc"] > 0.6
    assert text.count("production") >= 2


def test_an_endpoint_is_asked(story: Story, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert story.idle.status == "nothing"
    text, listed = _told(home, capsys, "endpoint", "list")
    assert "shop-staging" in text
    assert [endpoint["ready"] for endpoint in listed["endpoints"]] == [True, True]
    text, answer = _told(home, capsys, "endpoint", "query", "shop", '[{"customer_id": 0}, {"customer_id": 1}]')
    assert answer["model_version"] == "2"
    assert len(answer["predictions"]) == len(answer["probabilities"]) == 2
    assert "by v2, request " in text
    assert main(["endpoint", "query", "shpo", '{"customer_id": 0}', "--home", str(home.path)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.startswith("error: ")) == ("", True)
    assert main(["endpoint", "query", "shop", '{"customer": 0}', "--home", str(home.path)]) == 1
    assert "customer_id" in capsys.readouterr().err


def test_rollback_puts_the_previous_version_back(story: Story, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert story.idle.status == "nothing"
    assert main(["rollback", "--why", "a drill", "--home", str(home.path), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["version"], done["replaced"], done["why"]) == ("1", "2", "a drill")
    assert home.in_production() == "1"
    assert _told(home, capsys, "endpoint", "query", "shop", '{"customer_id": 0}')[1]["model_version"] == "1"
    assert main(["rollback", "ml.models.shop", "--home", str(home.path)]) == 0
    assert "v2 is back in production, v1 is kept as the previous version" in capsys.readouterr().out
    assert home.in_production() == "2"
