"""A monitor over a log that no pipeline has made."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.monitoring.known import KnownMonitor, remember
from millrace.monitoring.types import MonitorSpec
from millrace.workspace import open_workspace
from tests.unit.cli.conftest import Cli
from tests.unit.monitoring.logs import log_of

NAME = "answers"


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    home.mkdir()


@pytest.fixture
def log(cli: Cli, tmp_path: Path) -> str:
    """Three normal days, then one that is not."""
    for name, rows in (
        ("logs.answers", pa.concat_tables([log_of(range(3)), log_of([3], shift=2.5)])),
        ("ml.normal", log_of(range(-30, -10)).drop_columns(["model_version", "id"])),
    ):
        pq.write_table(rows, tmp_path / "rows.parquet")
        assert cli("table", "import", name, tmp_path / "rows.parquet").code == 0
    return "logs.answers"


def test_before_there_is_one(cli: Cli) -> None:
    assert "there are no monitors yet" in cli("monitor", "list").out
    assert cli("monitor", "list", "--json").json() == {"monitors": []}
    assert "no monitor 'x'" in cli("monitor", "show", "x").refused()


def test_a_log_is_watched_from_creation_to_verdict(cli: Cli, log: str) -> None:
    made = cli("monitor", "create", log, "--baseline", "ml.normal", "--slice", "region", "--json").json()
    assert (made["name"], made["slices"]) == (NAME, ["region"])
    assert "no verdicts yet" in cli("monitor", "show", NAME).out
    refreshed = cli("monitor", "refresh", NAME)
    assert refreshed.code == 0
    verdicts = cli("monitor", "verdicts", log, "--since", "2025-03-03", "--json").json()["verdicts"]
    drift = [(one["start"], one["status"]) for one in verdicts if one["kind"] == "drift"]
    assert drift[:2] == [("2025-03-03T00:00:00Z", "ok"), ("2025-03-04T00:00:00Z", "drift")]
    shown = cli("monitor", "show", NAME)
    assert shown.code == 0
    assert "spend" in shown.out
    assert "worst columns" in shown.out
    assert cli("monitor", "list", "--json").json()["monitors"][0]["log"] == "logs.answers"
    assert cli("monitor", "show", NAME, "--check").code == 3


def test_a_check_of_normal_days_passes(cli: Cli, tmp_path: Path) -> None:
    for name, rows in (
        ("logs.answers", log_of(range(3))),
        ("ml.normal", log_of(range(-30, -10)).drop_columns(["id"])),
    ):
        pq.write_table(rows, tmp_path / "rows.parquet")
        assert cli("table", "import", name, tmp_path / "rows.parquet").code == 0
    assert cli("monitor", "create", "logs.answers", "--baseline", "ml.normal").code == 0
    assert cli("monitor", "refresh", NAME).code == 0
    assert cli("monitor", "show", NAME, "--check").code == 0


def test_what_can_t_be_watched_is_refused(cli: Cli, log: str) -> None:
    assert (
        "no column 'time'" in cli("monitor", "create", log, "--baseline", "ml.normal", "--timestamp", "time").refused()
    )
    said = cli("monitor", "create", log, "--baseline", "ml.normal", "--slice", "reigon").refused()
    assert "slice 'reigon' is no column" in said
    assert "did you mean 'region'?" in said
    cli("monitor", "create", log, "--baseline", "ml.none").refused()
    cli("monitor", "create", "logs.none", "--baseline", "ml.normal").refused()


def test_two_monitors_never_share_tables(cli: Cli, log: str, home: Path, tmp_path: Path) -> None:
    pq.write_table(log_of(range(2)), tmp_path / "rows.parquet")
    assert cli("table", "import", "logs.served", tmp_path / "rows.parquet").code == 0
    with closing(open_workspace(home)) as workspace:
        remember(workspace.lake, KnownMonitor("shop", MonitorSpec("logs.served", "ml.monitoring"), "ml.models.shop"))
    assert "that of pipeline shop" in cli("monitor", "create", "logs.served", "--baseline", "ml.normal").refused()
    assert cli("monitor", "show", "shop", "--json").json()["reference"] == "training set and holdout of ml.models.shop"
    own = ("--schema", "ml.own")
    assert cli("monitor", "create", "logs.served", "--baseline", "ml.normal", *own).code == 0
    for _ in range(2):  # the same again only changes it
        assert cli("monitor", "create", log, "--baseline", "ml.normal").code == 0
    assert cli("table", "import", "elsewhere.answers", tmp_path / "rows.parquet").code == 0
    assert cli("monitor", "create", log, "--baseline", "ml.normal", *own, "--json").json()["name"] == "ml.own.answers"
    assert cli("monitor", "show", "ml.own.answers", "--json").json()["tables"] == "ml.own.*"
    said = cli("monitor", "create", "elsewhere.answers", "--baseline", "ml.normal").refused()
    assert "that of the log logs.answers" in said
    assert "--schema" in said


def test_a_budget_that_is_no_number_is_refused_before_it_is_kept(cli: Cli, log: str) -> None:
    for budget in ("nan", "inf", "0"):
        cli("monitor", "create", log, "--baseline", "ml.normal", "--false-alarms-per-year", budget).refused()
    assert cli("monitor", "list", "--json").json() == {"monitors": []}
