"""What the documents say, done as a reader would do it: their code runs, their commands exist, their links lead somewhere."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest

from millrace.cli.backtest import known_policies
from millrace.cli.main import build_app
from millrace.core.clock import utc
from millrace.lake.importing import import_file
from millrace.pipeline.definition import computed_tables
from millrace.pipeline.load import load_pipeline
from millrace.pipeline.plan import build_plan
from millrace.pipeline.snapshots import preview
from millrace.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^]]*\]\(([^)#\s]+)(#[^)]*)?\)")
_BIN = Path(sys.executable).parent
_PATIENCE_S = 240
_ALL_S = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's pipeline and a file of purchases, on a day that lasts as long as what is done with it."""
    left_s = 86_400 - time.time() % 86_400
    if left_s < _ALL_S:
        time.sleep(left_s)
    made = tmp_path_factory.mktemp("project")
    (made / "pipeline.py").write_text(_blocks(README, "python")[0])
    _write_purchases(made / "transactions.csv")
    return made


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """`millrace up` in another terminal, so that the commands need not start a server each."""
    command = [str(_BIN / "millrace"), "up", "--port", "0", "--json"]
    server = subprocess.Popen(command, cwd=folder, env=_environment(folder), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"]
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=_PATIENCE_S)


@pytest.fixture(scope="module")
def project(folder: Path, url: str) -> tuple[Path, list[str]]:
    """A folder in which the README's commands have been run, and what each of them said."""
    assert url
    return folder, [_bash(folder, line) for line in _commands(README)]


def test_the_readme_takes_a_team_from_a_file_to_production(project: tuple[Path, list[str]]) -> None:
    imported, plan, first, second, answer, status, log = project[1]
    assert "rows appended to bronze.transactions, now at version 1" in imported
    assert "11 of 11 stages would run" in plan
    assert "churn serves v1" in first
    assert "nothing to do" in second
    assert "by v1" in answer
    assert "ml.models.churn v1" in status
    assert "nothing is in production" in log


def test_on_the_day_of_the_first_question_the_monitor_waits_for_a_finished_day(
    project: tuple[Path, list[str]], url: str
) -> None:
    _drain(project[0], url)
    assert "0 verdicts" in _bash(project[0], "millrace run")
    assert "nothing to do" in _bash(project[0], "millrace run")


def test_an_endpoint_answers_as_the_page_on_serving_says(project: tuple[Path, list[str]], url: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("docs/serving.md asks with curl; install Debian's package curl")
    page = ROOT / "docs" / "serving.md"
    (project[0] / "features.py").write_text("\n".join(_blocks(page, "python")).replace("http://127.0.0.1:5010", url))
    in_arrow = ast.literal_eval(_bash(project[0], "python features.py").splitlines()[0])
    blocks = [block for block in _blocks(page, "sh") if "millrace up" not in block]
    script = "\necho\n".join(blocks).replace("http://127.0.0.1:5010", url).replace("'\nask", "'\necho\nask")
    answers = [json.loads(line) for line in _bash(project[0], script).splitlines() if line.startswith("{")]
    records, split, instances, inputs, chance, in_csv, told, tensors, overridden, features, sent, status = answers
    assert len(records["predictions"]) == 2
    assert records == split == instances == inputs == in_arrow
    assert 0 <= chance["probabilities"][0] <= 1
    assert in_csv == {**records, "probabilities": [chance["probabilities"][0], in_csv["probabilities"][1]]}
    assert (told["name"], told["versions"], told["inputs"][0]["name"]) == ("churn", ["1"], "customer_id")
    assert {each["name"]: each["data"] for each in tensors["outputs"]} == {
        "predict": in_csv["predictions"],
        "predict_proba": in_csv["probabilities"],
    }
    assert overridden["probabilities"] != chance["probabilities"]
    known, unknown = features["outputs"]
    assert list(known) == ["purchases", "days_since_last", "spend_per_purchase"]
    assert known["spend_per_purchase"] > 0
    assert unknown == dict.fromkeys(known)
    assert sent["outputs"] == [
        {
            **known,
            "purchases": 50,
            "spend_per_purchase": pytest.approx(known["spend_per_purchase"] * known["purchases"] / 50),
        }
    ]
    assert status["endpoints"][0]["paths"]


def test_a_preview_can_be_of_some_columns(project: tuple[Path, list[str]]) -> None:
    said = _bash(
        project[0], "millrace table preview ml.labels.churn --rows 2 --column churned --column label_time --json"
    )
    rows = json.loads(said)["rows"]
    assert [list(row) for row in rows] == [["churned", "label_time"]] * 2


def test_the_page_on_pipelines_is_a_pipeline(tmp_path: Path) -> None:
    page = tmp_path / "pipeline.py"
    page.write_text("\n".join(_blocks(ROOT / "docs" / "pipelines.md", "python")))
    pipeline = load_pipeline(page)
    workspace = open_workspace(tmp_path / ".millrace")
    try:
        _write_sources(workspace, tmp_path)
        for table in computed_tables(pipeline):
            rows = preview(workspace, table, utc(datetime(2025, 3, 3)))  # noqa: DTZ001 - read as UTC
            assert rows.num_rows > 0, table.name
        planned = [step.stage.name for step in build_plan(workspace, pipeline).needed]
    finally:
        workspace.close()
    assert planned[0] == "features ml.features.shopping"
    assert planned[-1] == "production"


def test_the_page_on_backtests_gives_a_pipeline_further_policies(tmp_path: Path) -> None:
    page = tmp_path / "pipeline.py"
    policies = _blocks(ROOT / "docs" / "backtest.md", "python")
    page.write_text("\n".join([_blocks(README, "python")[0], *policies]))
    known = known_policies(load_pipeline(page), page)
    lines = [shlex.split(line) for line in _commands(ROOT / "docs" / "backtest.md")]
    named = {word for line in lines for before, word in pairwise(line) if before == "--policy"}
    assert named > {"careful", "quarterly", "never", "own"}
    assert named <= set(known)


def test_what_the_page_on_monitoring_declares_fits_into_a_pipeline(tmp_path: Path) -> None:
    page = tmp_path / "pipeline.py"
    declared = _blocks(ROOT / "docs" / "monitoring.md", "python")
    given = "pipeline = dataclasses.replace(pipeline, monitor=monitor, alerts=alerts, retrain=retrain)"
    page.write_text("\n".join([_blocks(README, "python")[0], *declared, "import dataclasses", given]))
    pipeline = load_pipeline(page)
    assert pipeline.monitor is not None
    assert pipeline.monitor.slices == ("region", "total_spend > 100")
    assert pipeline.retrain is not None
    assert pipeline.retrain.every == "month"


def test_what_the_page_on_validation_declares_fits_into_a_pipeline(tmp_path: Path) -> None:
    page = tmp_path / "pipeline.py"
    (declared,) = _blocks(ROOT / "docs" / "validation.md", "python")
    given = "pipeline = dataclasses.replace(pipeline, gates=gates, skip_gates=skip_gates)"
    page.write_text("\n".join([_blocks(README, "python")[0], declared, "import dataclasses", given]))
    assert load_pipeline(page).skip_gates == ["no_worse_than_champion"]


def test_the_commands_of_the_page_on_monitoring_run(project: tuple[Path, list[str]], url: str) -> None:
    _drain(project[0], url)
    _bash(project[0], "millrace run")
    said = [_bash(project[0], block) for block in _blocks(ROOT / "docs" / "monitoring.md", "sh")]
    assert "churn" in said[0]
    assert "few-purchases" in said[1]
    assert "backfill" in said[2]
    assert "json://127.0.0.1/***" in said[3]
    assert "hook\n" not in said[3]


@pytest.mark.long
def test_the_page_on_jobs_is_done_as_it_is_read(tmp_path: Path) -> None:
    page = ROOT / "docs" / "jobs.md"
    pipeline, jobs, program, triggers = _blocks(page, "python")
    for name, text in {"pipeline.py": pipeline, "jobs.py": jobs, "count.py": program, "triggers.py": triggers}.items():
        (tmp_path / name).write_text(text)
    _write_purchases(tmp_path / "transactions.csv")
    _bash(tmp_path, next(line for line in _commands(README) if "table import" in line))
    applied, ran, queued = _blocks(page, "sh")
    said = _bash(tmp_path, applied)
    for name in ("customer_churn-features", "customer_churn-monitor", "customer_churn-retrain"):
        assert f"created    {name}" in said
    assert "at 06:30 every day (Europe/Berlin)" in said
    said = _bash(tmp_path, ran)
    assert re.search(r"run \d+ of job report: SUCCESS", said), said
    assert re.search(r"customer_id +spend\n", said)
    # Nobody executes here, so that who waits does.
    said = _bash(tmp_path, queued)
    assert "nothing executes it until `millrace up` runs" in said
    assert "report is paused" in said
    assert "created    fresh" in _bash(tmp_path, "millrace job apply triggers.py")


def test_the_page_on_ci_promotes_in_one_home(project: tuple[Path, list[str]]) -> None:
    """Its stages run in test_ci.py, in a repository."""
    assert project[1]
    _, promotion = _blocks(ROOT / "docs" / "ci.md", "sh")
    judged, deployed, approved, promoted, log = (_bash(project[0], line) for line in promotion.strip().splitlines())
    assert "ml.models.churn v1 passes all" in judged
    assert "churn-staging serves ml.models.churn v1" in deployed
    assert "is approved for prod" in approved
    assert "ml.models.churn v1 is production in prod" in promoted
    assert "production" in log


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_in_the_documents_is_one(page: Path) -> None:
    app = build_app()
    for line in _commands(page):
        app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_documents_leads_somewhere(page: Path) -> None:
    for target, _ in _LINK.findall(page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def _drain(folder: Path, url: str) -> None:
    """What was served becomes rows of the log."""
    token = (folder / ".millrace" / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    httpx.post(f"{url}/api/millrace/capture/drain", headers=headers, timeout=_PATIENCE_S).raise_for_status()


def _blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(page.read_text()) if kind == language]


def _commands(page: Path) -> list[str]:
    """The lines with a `millrace` command in a page's shell blocks, without the remarks behind them."""
    lines = "\n".join(_blocks(page, "sh")).splitlines()
    return [re.sub(r"\s+# .*", "", line) for line in lines if line.startswith("millrace ")]


def _bash(folder: Path, script: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def _environment(folder: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "MLFLOW_"))}
    return ours | {"PATH": f"{_BIN}:{os.environ['PATH']}", "MILLRACE_HOME": str(folder / ".millrace")}


def _write_purchases(file: Path) -> None:
    """300 days of 400 customers: they come at a pace of their own, and leave one day.

    They end with last week, as the grid of training days does: whenever this runs, a model learns from the same rows.
    """
    rng, today = (
        np.random.default_rng(1),
        datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0),
    )
    now = today - timedelta(days=today.weekday())
    rows = []
    for customer in range(400):
        pace, joined = rng.lognormal(2.3, 0.5), 0.0 if customer < 150 else rng.uniform(0, 250)
        day, leaves = joined + rng.exponential(pace), joined + rng.exponential(200)
        while day < min(300.0, leaves):
            rows.append((now - timedelta(days=300 - day), customer, f"{rng.lognormal(3.5, 0.5):.2f}"))
            day += rng.exponential(pace)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["customer_id", "transaction_date", "amount"])
        writer.writerows((customer, at.isoformat(timespec="seconds"), amount) for at, customer, amount in sorted(rows))


def _write_sources(workspace: Workspace, folder: Path) -> None:
    """The tables that docs/pipelines.md speaks of, with a few rows in each."""
    days = [f"2025-0{month}-0{day}T10:00:00" for month in (1, 2, 3, 4) for day in (1, 2)]
    purchases = [f"{customer},{day},{customer + 1}.50,books" for customer in range(5) for day in days]
    tables = {
        "bronze.transactions": ["customer_id,transaction_date,amount,category", *purchases],
        "bronze.customers": ["customer_id,region,valid_from,valid_to", *(f"{n},west,2024-01-01," for n in range(5))],
        "bronze.stock": ["category,price_level,copied_on", "books,2,2025-01-01", "books,3,2025-02-01"],
    }
    types = {"bronze.transactions": {"amount": "decimal(18,2)"}, "bronze.customers": {"valid_to": "date"}}
    for name, lines in tables.items():
        (folder / "rows.csv").write_text("\n".join(lines) + "\n")
        import_file(workspace.lake, name, folder / "rows.csv", types=types.get(name))
