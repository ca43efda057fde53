"""What the commands say before there is anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.targets import local_server
from tests.unit.cli.conftest import Cli

PAGE = """
import millrace as mr

label = mr.Label("ml.labels.churn", "churned", ("customer_id",), "at")
lookups = [mr.FeatureLookup("ml.features.churn", "customer_id")]
pipeline = mr.Pipeline(name="churn", label=label, lookups=lookups, candidates=[mr.Linear()], gates=[])
"""


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    home.mkdir()


def test_status(cli: Cli, home: Path) -> None:
    said = cli("status")
    assert said.code == 0
    for text in (str(home), "not running (millrace up)", "no production", "no endpoints", "no pipelines"):
        assert text in said.out
    facts = cli("status", "--json").json()
    assert facts["home"] == str(home)
    assert (facts["server"], facts["virtual"]) == (None, False)
    assert [facts[name] for name in ("production", "endpoints", "online", "pipelines", "episodes")] == [[]] * 5


def test_status_with_a_server_that_is_stalled(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "_PATIENCE_S", 0.1)
    with local_server.only_server(home):
        said, facts = cli("status"), cli("status", "--json").json()
    assert said.code == 0
    assert "has a server, and it does not answer" in said.out.replace("\n", " ")
    assert facts["server"] is None
    assert "does not answer" in facts["server_error"]


def test_log_and_endpoints(cli: Cli) -> None:
    assert "nothing was promoted yet" in cli("log").out
    assert cli("log", "--json").json() == {"promotions": []}
    assert "there are no endpoints yet" in cli("endpoint", "list").out
    assert cli("endpoint", "list", "--json").json() == {"endpoints": []}


def test_there_is_nothing_to_roll_back(cli: Cli) -> None:
    assert "nothing was promoted to production yet" in cli("rollback").refused()


@pytest.mark.parametrize("records", ["{", "1", "[]", "[1]", "'customer_id'"])
def test_records_that_are_no_records(cli: Cli, records: str) -> None:
    assert "the records are not JSON" in cli("endpoint", "query", "churn", records).refused(2)


def test_a_pipeline_without_its_tables(cli: Cli, tmp_path: Path) -> None:
    assert "there is no file pipeline.py" in cli("plan").refused()
    (tmp_path / "pipeline.py").write_text(PAGE)
    planned = cli("plan", "--json").json()
    assert planned["training"] == "nothing is in production"
    assert "publish ml.features.churn" in [step["stage"] for step in planned["steps"] if step["run"]]
    said = cli("run").err
    assert "[!!] publish ml.features.churn" in said
    assert "error: table ml.features.churn does not exist" in said
    assert "  hint: " in said


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--as-of", "yesterday", 2),
        ("--table-version", "bronze.t", 2),
        ("--table-version", "bronze.t=x", 2),
        ("--pipeline", "chrun", 1),
    ],
)
def test_options_of_plan_and_run(cli: Cli, tmp_path: Path, option: str, value: str, code: int) -> None:
    (tmp_path / "pipeline.py").write_text(PAGE)
    for command in ("plan", "run"):
        assert value in cli(command, option, value).refused(code)


def test_a_page_that_does_not_run(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text("import millrace as mr\n\nmr.Source('t')\n")
    assert "line 3: source t has no event_time" in cli("run").refused()
