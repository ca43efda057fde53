"""Real purchases: trained as of the end of 1997, scored by customer id over HTTP in the next quarter, checked row for row.

CDNOW_master.txt is a public record of 69,659 purchases by 23,570 customers. It is not part of this project: put it at
`../shared/data/cdnow/CDNOW_master.txt` beside the checkout, or name it in MILLRACE_CDNOW.
"""

from __future__ import annotations

import bisect
import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from millrace.api.auth import home_token
from millrace.api.discovery import running_server
from millrace.core.clock import parse_time
from millrace.features.augment import augment
from millrace.features.matrix import model_frame
from millrace.features.spec import from_json
from millrace.pipeline.context import Pins, Quiet
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.execute import run_pipeline
from millrace.pipeline.load import load_pipeline
from millrace.pipeline.plan import Request
from millrace.pipeline.training_parts import assemble
from millrace.registry.types import ModelName, ModelVersion
from millrace.targets.adapters.millrace_http import MillraceTarget
from millrace.training.models import feature_spec_of, load_native, predict_proba
from millrace.workspace import Workspace, open_target, open_workspace

_FILE = Path(
    os.environ.get("MILLRACE_CDNOW")
    or Path(__file__).parents[2] / ".." / "shared" / "data" / "cdnow" / "CDNOW_master.txt"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _FILE.is_file(), reason=f"{_FILE} is not there; see the top of this file"),
    # MLflow's own, while models are read in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

DAY = timedelta(days=1)
AS_OF = datetime(1997, 12, 31, tzinfo=UTC)
HORIZON, STEP, START = 90 * DAY, 28 * DAY, datetime(1997, 3, 31, tzinfo=UTC)
# When the endpoint is asked, in the quarter after.
ASKED_AT = [
    datetime(1998, 1, 7, 9, tzinfo=UTC),
    datetime(1998, 2, 18, 17, tzinfo=UTC),
    datetime(1998, 3, 30, tzinfo=UTC),
]
CUSTOMERS, BATCH = range(1, 23571, 14), 250
FEATURES, LABELS, PURCHASES = "ml.features.cdnow", "ml.labels.cdnow", "bronze.purchases"
PAGE = '''
from datetime import UTC, datetime, timedelta

import millrace as mr
from pyspark.sql import functions as F

purchases = mr.Source("bronze.purchases", event_time="date")
STEP, HORIZON = timedelta(days=28), timedelta(days=90)
START = datetime(1997, 3, 31, tzinfo=UTC)


@mr.feature_table("ml.features.cdnow", keys=["customer_id"], every=STEP, start=START)
def features(as_of, tx=purchases):
    """What each customer had bought."""
    day = F.lit(as_of.date())
    return tx.groupBy("customer_id").agg(
        F.count("*").alias("purchases"),
        F.sum("items").alias("items"),
        F.sum("amount").alias("total_spend"),
        F.avg("amount").alias("mean_spend"),
        F.stddev("amount").alias("spend_volatility"),
        F.datediff(day, F.max("date")).alias("days_since_last"),
        F.datediff(day, F.min("date")).alias("days_since_first"),
    )


@mr.label_table("ml.labels.cdnow", keys=["customer_id"], column="churned", horizon=HORIZON, every=STEP, start=START)
def labels(time, end, tx=purchases):
    """Who bought nothing in the 90 days after?"""
    before = F.col("date") < F.lit(time.date())
    back = F.max((~before).cast("int"))
    return tx.groupBy("customer_id").agg((1 - back).alias("churned"), F.max(before).alias("known")).where("known").drop("known")


pipeline = mr.Pipeline(
    name="cdnow",
    features=[features],
    label=labels,
    candidates=[mr.XGBoost(n_estimators=50, max_depth=4), mr.Linear(), mr.Dummy()],
    gates=[mr.AtMost(log_loss=0.45), mr.BeatsBaselines(), mr.BeatsChampion()],
)
'''

Purchase = tuple[int, date, int, str]


@pytest.fixture(scope="module")
def record() -> list[Purchase]:
    """The file's rows: customer, day, number of items, amount."""
    rows = []
    for line in _FILE.read_text().splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[0].isdigit():
            day = datetime.strptime(fields[1], "%Y%m%d").replace(tzinfo=UTC).date()
            rows.append((int(fields[0]), day, int(fields[2]), fields[3]))
    return rows


@dataclass(frozen=True)
class Scored:
    """What a home holds after the quarter, and what was answered in it."""

    workspace: Workspace
    pipeline: Pipeline
    imported: dict[str, Any]
    report: dict[str, Any]
    answers: dict[tuple[int, datetime], float]


def _write_csv(file: Path, rows: list[Purchase]) -> None:
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(["customer_id", "date", "items", "amount"])
        writer.writerows(rows)


def _millrace(home: Path, *arguments: object) -> dict[str, Any]:
    """A command as a user runs it; its JSON."""
    command = [sys.executable, "-m", "millrace.cli.main", *map(str, arguments), "--home", str(home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, record: list[Purchase]) -> Iterator[Scored]:
    """Import, run as of the end of 1997, then ask the production endpoint three times in the next quarter."""
    root = tmp_path_factory.mktemp("cdnow")
    home, page = root / "home", root / "pipeline.py"
    page.write_text(PAGE)
    _write_csv(root / "purchases.csv", record)
    workspace = open_workspace(home)
    workspace.clock.set(AS_OF)
    imported = _millrace(home, "table", "import", PURCHASES, root / "purchases.csv", "--type", "amount=decimal(10,2)")
    pipeline = load_pipeline(page)
    answers: dict[tuple[int, datetime], float] = {}
    with running_server(home) as server:
        report = _millrace(home, "run", page, "--as-of", "1997-12-31")
        target = MillraceTarget(server.url, home_token(home))
        for now in ASKED_AT:
            workspace.clock.set(now)
            refresh = Request(parts=frozenset({"refresh"}))
            run_pipeline(workspace, pipeline, lambda: open_target(workspace), Quiet(), refresh)
            answers |= _ask(target, pipeline.endpoint, now)
        target.drain()
        target.close()
    yield Scored(workspace, pipeline, imported, report, answers)
    workspace.close()


def _ask(target: MillraceTarget, endpoint: str, now: datetime) -> dict[tuple[int, datetime], float]:
    found: dict[tuple[int, datetime], float] = {}
    for first in range(0, len(CUSTOMERS), BATCH):
        some = CUSTOMERS[first : first + BATCH]
        probabilities = target.query(endpoint, [{"customer_id": one} for one in some]).probabilities
        assert probabilities is not None
        found |= {(one, now): value for one, value in zip(some, probabilities, strict=True)}
    return found


@pytest.fixture(scope="module")
def log(scored: Scored) -> pa.Table:
    """The predictions that were logged."""
    order = [("timestamp", "ascending"), ("customer_id", "ascending")]
    return scored.workspace.lake.read(scored.pipeline.predictions_table).sort_by(order)


def test_the_record_is_imported_whole(scored: Scored, record: list[Purchase]) -> None:
    assert len(record) == scored.imported["rows"] == 69_659
    assert len({customer for customer, *_ in record}) == 23_570
    assert scored.imported["columns"] == {
        "customer_id": "int64",
        "date": "date32[day]",
        "items": "int64",
        "amount": "decimal128(10, 2)",
    }


def test_a_model_passes_its_gates_and_goes_into_production(scored: Scored) -> None:
    assert scored.report["status"] == "done"
    assert scored.report["stages"][-1]["detail"] == "cdnow serves v1"
    (promotion,) = (move for move in scored.workspace.promotions.read() if move.alias == "production")
    metrics = promotion.verdict["metrics"]
    assert isinstance(metrics, dict)
    # Four of five customers never come back in time: saying so of everybody is right that often, and worthless.
    assert metrics["log_loss"] < 0.45
    assert metrics["roc_auc"] > 0.7


def test_every_row_that_was_asked_is_answered_and_logged(scored: Scored, log: pa.Table) -> None:
    assert log.num_rows == len(scored.answers) == len(CUSTOMERS) * len(ASKED_AT) > 5000
    logged = zip(log.column("customer_id").to_pylist(), log.column("timestamp").to_pylist(), strict=True)
    assert dict(zip(logged, log.column("probability").to_pylist(), strict=True)) == scored.answers


def test_features_and_probabilities_equal_the_offline_ones_row_for_row(scored: Scored, log: pa.Table) -> None:
    workspace, pipeline = scored.workspace, scored.pipeline
    folder = workspace.registry.download(ModelName(pipeline.model_name), ModelVersion("1"))
    spec = from_json(feature_spec_of(folder) or "")
    requests = log.select(["customer_id"]).append_column("label_time", log.column("timestamp"))
    offline = model_frame(
        augment(workspace.lake, workspace.asof, spec, requests, as_of=workspace.clock.now()), spec.inputs
    )
    online = model_frame(log, spec.inputs)
    equal = (online == offline) | (online.isna() & offline.isna())
    assert int((~equal.all(axis=1)).sum()) == 0
    expected = predict_proba(load_native(folder), offline)
    differing = [
        row
        for row, (got, wanted) in enumerate(zip(log.column("probability").to_pylist(), expected, strict=True))
        if abs(got - wanted) > 1e-6
    ]
    assert differing == []


def test_features_are_what_the_file_says_of_the_days_before(log: pa.Table, record: list[Purchase]) -> None:
    by_customer: dict[int, list[tuple[date, int, float]]] = defaultdict(list)
    for customer, day, items, amount in record:
        by_customer[customer].append((day, items, float(amount)))
    for row in log.to_pylist():
        # The newest snapshot at the time of the question; a purchase is known once its day has ended.
        snapshot = (START + (row["timestamp"] - START) // STEP * STEP).date()
        history = sorted(by_customer[row["customer_id"]])
        known = history[: bisect.bisect_left(history, (snapshot,))]
        assert row["purchases"] == len(known)
        assert row["items"] == sum(items for _, items, _ in known)
        assert row["total_spend"] == pytest.approx(sum(amount for *_, amount in known), abs=1e-9)
        assert row["days_since_last"] == (snapshot - known[-1][0]).days
        assert row["days_since_first"] == (snapshot - known[0][0]).days
        (source,) = json.loads(row["features"])[:1]
        assert parse_time(source["event_time"]).date() == snapshot


def test_training_saw_nothing_of_1998(scored: Scored, record: list[Purchase], tmp_path: Path) -> None:
    workspace = scored.workspace
    run = next(each for each in workspace.runs.runs("cdnow", limit=99) if each.due == AS_OF)
    outputs = {stage.stage: stage.output for stage in workspace.runs.stages(run.id)}
    kept = outputs["training set"]
    assert parse_time(str(kept["holdout_to"])) + HORIZON <= AS_OF
    assert parse_time(str(kept["train_to"])) + HORIZON <= parse_time(str(kept["holdout_from"]))
    versions = kept["versions"]
    assert isinstance(versions, dict)
    for name, time, horizon in ((FEATURES, "feature_time", 0 * DAY), (LABELS, "label_time", HORIZON)):
        newest = pc.max(workspace.lake.read(name, versions[name], [time]).column(time)).as_py()
        assert newest + horizon <= AS_OF

    # The same, to the last bit, where the file ends with 1997.
    other = open_workspace(tmp_path / "home")
    try:
        other.clock.set(AS_OF)
        rows = [row for row in record if row[1] < AS_OF.date()]
        _write_csv(tmp_path / "purchases.csv", rows)
        _millrace(
            tmp_path / "home",
            "table",
            "import",
            PURCHASES,
            tmp_path / "purchases.csv",
            "--type",
            "amount=decimal(10,2)",
        )
        request = Request(as_of=AS_OF, parts=frozenset({"refresh"}))
        run_pipeline(other, scored.pipeline, lambda: open_target(other), Quiet(), request)
        parts = assemble(other, scored.pipeline, Pins(AS_OF))
    finally:
        other.close()
    assert parts.train.record.fingerprint == kept["fingerprint"]
    assert parts.holdout.record.fingerprint == kept["holdout_fingerprint"]
