"""`millrace backtest` where nothing has to be replayed: what is refused, and with which words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.cli.main import main
from millrace.workspace import open_workspace

PAGE = """
from datetime import timedelta

import millrace as mr

tx = mr.Source("bronze.tx", event_time="at")
spend = mr.Windows(tx, keys=["k"], n=mr.Count(days=28))
careful = mr.Retrain(on=("performance",), per_month=1)
pipeline = mr.Pipeline(
    name="shop",
    features=[mr.window_table("ml.features.spend", spend, every=timedelta(days=7))],
    label=mr.Label("bronze.left", column="left", keys=("k",), time="at", known_after=timedelta(days=90)),
    candidates=[mr.Linear()],
    gates=[],
)
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The command over a home with a purchase and a label, in the summer of 2025."""
    workspace = open_workspace(tmp_path / "home")
    workspace.clock.set(datetime(2025, 6, 2, tzinfo=UTC))
    at = pa.array([datetime(2025, 5, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    for name, rows in {"tx": {"k": [1], "at": at}, "left": {"k": [1], "at": at, "left": [1]}}.items():
        table = pa.table(rows)
        workspace.lake.create(f"bronze.{name}", table.schema)
        workspace.lake.append(f"bronze.{name}", table)
    workspace.close()
    page = tmp_path / "pipeline.py"
    page.write_text(PAGE)
    return ["backtest", str(page), "--home", str(tmp_path / "home")]


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ("--from 2025-05-01 --to 2025-04-01", 1, "give --from a date before --to"),
        ("--from 2025-05-01 --to 2025-07-01", 1, "2025-07-01 has not come"),
        ("--from 2025-05-01 --to 2025-06-01 --policy carefull", 2, "did you mean 'careful'?"),
        ("--from 2025-05-01 --to 2025-06-01 --policy montly", 2, "did you mean 'monthly'?"),
        ("--from 2025-05-01 --to 2025-06-01 --step 1y", 2, "write 1d, 7d, 2w or 12h"),
        ("--from yesterday --to 2025-06-01", 2, "--from: 'yesterday' is not a time"),
        ("--from 2025-05-01 --to 2025-06-01 --change then", 2, "--change: 'then' is not a time"),
        ("--to 2025-06-01", 2, "--from"),
    ],
)
def test_what_can_not_be_is_told_before_anything_is_computed(
    command: list[str], asked: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *asked.split()]) == code
    assert said in capsys.readouterr().err
    assert not (Path(command[-1]) / "backtests").exists()


def test_a_name_that_comes_along_is_not_given_twice(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(command[1])
    page.write_text(PAGE.replace("careful =", "monthly ="))
    assert main([*command, "--from", "2025-05-01", "--to", "2025-06-01"]) == 1
    assert "calls a Retrain `monthly`, which is the name of a policy that comes along" in capsys.readouterr().err


def test_labels_that_are_all_too_young_are_no_history(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--from", "2025-05-01", "--to", "2025-06-01", "--step", "7d"]) == 1
    said = capsys.readouterr().err
    assert "no label of bronze.left is known at 2025-06-01T00:00:00Z" in said
    assert "labels are known 90 days after their time" in said


def test_without_a_home_there_is_no_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "pipeline.py"
    page.write_text(PAGE)
    asked = ["backtest", str(page), "--home", str(tmp_path / "none"), "--from", "2025-05-01", "--to", "2025-06-01"]
    assert main(asked) == 1
    assert "there is no millrace home" in capsys.readouterr().err
