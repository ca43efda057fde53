"""A pipeline's own schedules under a running server, in a home whose clock is put: at six its features are refreshed, and so on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.api.discovery import running_server
from millrace.cli.main import main
from millrace.registry.types import ModelName
from millrace.workspace import Workspace, open_workspace
from tests.integration.test_pipeline_run import PAGE, START, WEEK, purchases_between

pytestmark = pytest.mark.long

EVE = datetime(2025, 4, 13, 22, tzinfo=UTC)
SCHEDULED = (
    PAGE.replace(
        "every=WEEK, start=START)\ndef features", 'every=WEEK, start=START, schedule="0 0 6 * * ?")\ndef features'
    )
    .replace(
        "split=mr.Split(holdout=WEEK),",
        'split=mr.Split(holdout=WEEK), monitor=mr.Monitor(schedule="0 30 6 * * ?"), retrain=mr.Retrain(schedule="0 0 7 * * ?"),',
    )
    .replace("THRESHOLD", "0.5")
)
PATIENCE_S = 240.0


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = open_workspace(tmp_path / "home")
    made.clock.set(EVE)
    rows = purchases_between(START - 3 * WEEK, EVE, seed=1)
    made.lake.create("bronze.purchases", rows.schema)
    made.lake.append("bronze.purchases", rows)
    (tmp_path / "page.py").write_text(SCHEDULED)
    yield made
    made.close()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def ended(workspace: Workspace, job: str) -> Callable[[], bool]:
    return lambda: [run.is_over for run in workspace.jobs.runs.list(job)] == [True]


def test_a_pipelines_schedules_keep_its_loop_going(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(workspace.home)]
    assert main(["job", "apply", str(tmp_path / "page.py"), *home]) == 0
    with running_server(workspace.home):
        tomorrow = EVE + timedelta(hours=8)
        for job, at in {
            "shop-features": tomorrow,
            "shop-monitor": tomorrow + timedelta(minutes=30),
            "shop-retrain": tomorrow + timedelta(hours=1),
        }.items():
            workspace.clock.set(at + timedelta(seconds=1))
            wait_for(ended(workspace, job))
            (run,) = workspace.jobs.runs.list(job)
            assert (run.result_state, run.due) == ("SUCCESS", at), run.state_message
    assert workspace.lake.rows("ml.features.shop") > 0
    assert workspace.registry.by_alias(ModelName("ml.models.shop"), "production") is not None
    capsys.readouterr()
    assert main(["job", "runs", "--json", *home]) == 0
    assert [run["job"] for run in json.loads(capsys.readouterr().out)["runs"]] == [
        "shop-retrain",
        "shop-monitor",
        "shop-features",
    ]
