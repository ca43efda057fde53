"""A shop whose customers change on a known day, and one where nothing ever changes: is the recommended policy the right one?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from millrace.quickstart import story
from millrace.quickstart.behaviour import ChangeOfBehaviour
from millrace.quickstart.shop import ShopPlan
from millrace.quickstart.simulate import open_shop
from millrace.workspace import open_workspace

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

END = datetime(2026, 7, 1, tzinfo=UTC)
CHANGE = ChangeOfBehaviour()
# A retraining that waits until two months of the changed customers' labels are there to train on.
POLICIES = """
on_drift = mr.Retrain(on=("drift",), cooldown=timedelta(days=28), min_new_labels=8000)
on_loss = mr.Retrain(on=("performance",), cooldown=timedelta(days=28), min_new_labels=8000)
"""


def backtest(folder: Path, change: ChangeOfBehaviour | None, *policies: str) -> dict[str, Any]:
    """The command, over a year and a half of a shop, on the quickstart's page with its linear candidate."""
    page = folder / "pipeline.py"
    text = story.PAGE.read_text().replace("mr.XGBoost(n_estimators=100, max_depth=6, learning_rate=0.1), ", "")
    page.write_text(text + POLICIES)
    workspace = open_workspace(folder / "home")
    try:
        workspace.clock.set(END)
        shop = open_shop(ShopPlan(end=END, change=change))
        for name, rows in (("bronze.transactions", shop.sales), ("bronze.customers", shop.people)):
            workspace.lake.ensure(name, rows.schema)
            workspace.lake.append(name, rows)
    finally:
        workspace.close()
    command = [
        sys.executable,
        "-m",
        "millrace.cli.main",
        "backtest",
        str(page),
        "--home",
        str(folder / "home"),
        "--json",
    ]
    command += ["--from", "2025-01-13", "--to", "2026-06-29", "--step", "7d"]
    command += [word for name in policies for word in ("--policy", name)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env=os.environ | {"MILLRACE_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return backtest(tmp_path_factory.mktemp("changed"), CHANGE, "never", "on_drift", "on_loss")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return backtest(tmp_path_factory.mktemp("calm"), None, "never", "monthly", "on_drift", "on_loss")


def policy(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in found["policies"] if each["name"] == name)


def difference(found: dict[str, Any], one: str, other: str) -> dict[str, Any]:
    return next(each for each in found["differences"] if (each["policy"], each["other"]) == (one, other))


def test_after_a_change_retraining_on_it_beats_never(changed: dict[str, Any]) -> None:
    advice = changed["recommendation"]
    assert advice["policy"] in {"on_drift", "on_loss"}, advice["reason"]
    assert advice["told_apart"]
    assert "never is worse" in advice["reason"]
    for name in ("on_drift", "on_loss"):
        assert difference(changed, "never", name)["low"] > 0
        assert 1 <= policy(changed, name)["cost"]["promoted"] <= 3


def test_the_change_is_seen_within_weeks_and_not_before(changed: dict[str, Any]) -> None:
    opened = [each["opened_at"] for each in policy(changed, "never")["episodes"] if each["kind"] == "drift"]
    assert opened
    assert f"{CHANGE.start:%Y-%m-%d}" < opened[0] < "2025-03-20"


def test_the_alarm_of_the_change_is_a_true_one_though_nobody_named_it(changed: dict[str, Any]) -> None:
    first = policy(changed, "never")["episodes"][0]
    assert (first["alarm"], changed["changes"]) == ("true", [])
    assert "on the holdout" in first["why"]


def test_nobody_knew_of_a_loss_before_its_labels(changed: dict[str, Any]) -> None:
    opened = [each["opened_at"] for each in policy(changed, "on_loss")["episodes"] if each["kind"] == "performance"]
    assert opened[0] > "2025-05-18"  # 90 days after the change


def test_where_nothing_changes_never_is_recommended(calm: dict[str, Any]) -> None:
    advice = calm["recommendation"]
    assert advice["policy"] == "never", advice["reason"]
    assert not advice["told_apart"]
    assert "can't tell the policies apart, and never is the cheapest" in advice["reason"]


def test_where_nothing_changes_there_are_hardly_alarms(calm: dict[str, Any]) -> None:
    # A budget of one a year, and a year and a half.
    assert sum(policy(calm, "never")["alarms"].values()) <= 2
    assert policy(calm, "never")["alarms"]["true"] == 0
