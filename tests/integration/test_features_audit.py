"""The leak audit through the command line: three planted leaks are found, an honest pipeline passes, nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.cli.main import main
from millrace.core.processes import is_alive
from millrace.features.tables import create_feature_table
from millrace.quickstart.shop import ShopPlan
from millrace.quickstart.simulate import open_shop
from millrace.quickstart.story import PAGE as PAGE_OF_THE_QUICKSTART
from millrace.workspace import open_workspace
from tests.integration.children import children

pytestmark = pytest.mark.slow

START, DAYS, CUSTOMERS = datetime(2025, 1, 6, tzinfo=UTC), 120, 200
FILE = "shop.py"

PAGE = """
from datetime import timedelta

import millrace as mr
from millrace.workspace import open_workspace
from pyspark.sql import functions as F

WEEK = timedelta(days=7)
purchases = mr.Source("bronze.purchases", event_time="at")
customers = mr.Source("bronze.customers", history="none")
MEAN = 1.0


@mr.feature_table("ml.features.shop", keys=["customer_id"], every=WEEK)
def features(as_of, tx=purchases):
    since = F.datediff(F.lit(as_of), F.max("at")).alias("since")
    spend = (F.sum("amount") / F.lit(MEAN)).alias("spend")
    return tx.groupBy("customer_id").agg(F.count("*").alias("purchases"), spend, F.stddev("amount").alias("sd"), since)


@mr.label_table("ml.labels.shop", keys=["customer_id"], column="churned", horizon=2 * WEEK, every=WEEK)
def labels(time, end, tx=purchases):
    after = F.max((F.col("at") > F.lit(time)).cast("int"))
    found = tx.groupBy("customer_id").agg((1 - after).alias("churned"), F.min("at").alias("first"))
    return found.where(F.col("first") <= F.lit(time)).drop("first")


pipeline = mr.Pipeline(
    name="shop", features=[features], label=labels, candidates=[mr.Linear(), mr.Dummy()], gates=[mr.AtLeast(roc_auc=0.6)]
)
"""
# A constant that is computed over all rows when the page is read: each feature that it scales has seen the future.
IN_FUNCTION = (
    "MEAN = 1.0\n",
    "opened = open_workspace()\nMEAN = sum(opened.lake.read('bronze.purchases')['amount'].to_pylist())\nopened.close()\n",
)
IN_DIMENSION = (
    ("tx=purchases):\n    since", "tx=purchases, people=customers):\n    since"),
    ('sd"), since)\n', 'sd"), since).join(people, "customer_id")\n'),
)
LOOKUPS = """label=labels,
    lookups=[
        mr.FeatureLookup("ml.features.shop", "customer_id", timestamp_lookup_key="label_time"),
        mr.FeatureLookup("ml.features.accounts", "customer_id", timestamp_lookup_key="label_time"),
    ],"""
IN_LABEL = ("label=labels,", LOOKUPS)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("audit") / "home"
    workspace = open_workspace(home)
    sales = _purchases()
    workspace.lake.ensure("bronze.purchases", sales.schema)
    workspace.lake.append("bronze.purchases", sales)
    numbers = range(CUSTOMERS)
    people = pa.table({"customer_id": numbers, "region": [["north", "south"][n % 2] for n in numbers]})
    workspace.lake.ensure("bronze.customers", people.schema)
    workspace.lake.append("bronze.customers", people)
    accounts = _accounts(sales)
    create_feature_table(
        workspace.lake, "ml.features.accounts", accounts.schema, primary_keys="customer_id", timeseries_column="day"
    )
    workspace.lake.append("ml.features.accounts", accounts)
    workspace.close()
    return home


def _purchases() -> pa.Table:
    """Customers who buy every fourth day, half of whom stop at a time of their own."""
    random = np.random.default_rng(5)
    stops = np.where(np.arange(CUSTOMERS) % 2 == 0, DAYS, random.integers(30, DAYS, CUSTOMERS))
    who, day = np.nonzero(random.random((CUSTOMERS, DAYS)) < 0.25)
    kept = day < stops[who]
    times = [START + timedelta(days=int(n), hours=12) for n in day[kept]]
    return pa.table(
        {
            "customer_id": pa.array(who[kept], pa.int64()),
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            "amount": pa.array(random.gamma(2.0, 20.0, int(kept.sum()))),
        }
    )


def _accounts(sales: pa.Table) -> pa.Table:
    """What the shop's books say each day of an account: closed where its customer buys nothing in the two weeks to come."""
    bought: dict[int, set[int]] = {}
    for customer, at in zip(sales["customer_id"].to_pylist(), sales["at"].to_pylist(), strict=True):
        bought.setdefault(customer, set()).add((at - START).days)
    rows = [
        {
            "customer_id": customer,
            "day": START + timedelta(days=day),
            "state": "open" if days & set(range(day, day + 14)) else "closed",
        }
        for customer, days in bought.items()
        for day in range(DAYS)
    ]
    types = [("customer_id", pa.int64()), ("day", pa.timestamp("us", "UTC")), ("state", pa.string())]
    return pa.Table.from_pylist(rows, pa.schema(types))


def _audit(
    home: Path, folder: Path, capsys: pytest.CaptureFixture[str], *edits: tuple[str, str], more: tuple[str, ...] = ()
) -> tuple[int, list[dict[str, Any]]]:
    page = PAGE
    for old, new in edits:
        assert old in page
        page = page.replace(old, new)
    file = folder / FILE
    file.write_text(page)
    before = os.environ.get("MILLRACE_HOME")
    os.environ["MILLRACE_HOME"] = str(home)  # what a page that opens its workspace finds
    try:
        code = main(["features", "audit", str(file), "--quick", "--json", *more])
    finally:
        _put_back(before)
    report = capsys.readouterr()
    assert code in {0, 3}, report.err
    assert not list(home.glob("audit-*"))
    found: list[dict[str, Any]] = json.loads(report.out)["findings"]
    assert json.loads(report.out)["leaks"] == len(_leaks(found))
    return code, found


def _put_back(before: str | None) -> None:
    os.environ.pop("MILLRACE_HOME", None)
    if before is not None:
        os.environ["MILLRACE_HOME"] = before


def _leaks(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in findings if one["severity"] == "leak"]


def test_an_honest_pipeline_has_no_leak(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = _audit(home, tmp_path, capsys)
    assert (code, _leaks(found)) == (0, [])
    fine = {(one["check"], one["subject"]) for one in found if one["severity"] == "ok"}
    assert {("functions", "ml.features.shop"), ("functions", "ml.labels.shop"), ("label likeness", "churned")} <= fine
    workspace = open_workspace(home)
    assert [
        (str(entry.name), int(workspace.lake.pin(entry.name).version)) for entry in workspace.lake.catalog.list()
    ] == [
        ("bronze.customers", 1),
        ("bronze.purchases", 1),
        ("ml.features.accounts", 1),
    ]
    workspace.close()


def test_several_leaks_are_told_apart(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = _audit(home, tmp_path, capsys, IN_FUNCTION, *IN_DIMENSION, IN_LABEL)
    assert code == 3
    assert {(leak["check"], leak["subject"], leak["column"]) for leak in _leaks(found)} == {
        ("functions", "ml.features.shop", "spend"),
        ("dimensions", "bronze.customers", "region"),
        ("label likeness", "state", "state"),
    }


@pytest.mark.alone
def test_a_function_that_sees_the_future(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = _audit(home, tmp_path, capsys, IN_FUNCTION)
    (leak,) = _leaks(found)
    assert (code, leak["check"], leak["subject"], leak["column"]) == (3, "functions", "ml.features.shop", "spend")
    assert leak["evidence"]["tables"] == ["bronze.purchases"]
    assert set(leak["evidence"]["columns"]) == {"spend"}


@pytest.mark.alone
def test_a_dimension_without_history(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = _audit(home, tmp_path, capsys, *IN_DIMENSION)
    (leak,) = _leaks(found)
    assert (code, leak["check"], leak["subject"], leak["column"]) == (3, "dimensions", "bronze.customers", "region")
    assert "--accept bronze.customers" in leak["hint"]


@pytest.mark.alone
def test_a_column_that_is_the_label_in_other_words(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = _audit(home, tmp_path, capsys, IN_LABEL)
    (leak,) = _leaks(found)
    assert (code, leak["check"], leak["subject"]) == (3, "label likeness", "state")


@pytest.mark.alone
@pytest.mark.parametrize("page", ["quickstart", "init"])
def test_the_pages_that_we_hand_out_are_honest(
    page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shop = open_shop(ShopPlan())
    workspace = open_workspace(tmp_path / "home")
    for name, rows in (("bronze.transactions", shop.sales), ("bronze.customers", shop.people)):
        workspace.lake.ensure(name, rows.schema)
        workspace.lake.append(name, rows)
    workspace.close()
    assert main(["init", "mine"]) == 0
    file = PAGE_OF_THE_QUICKSTART if page == "quickstart" else tmp_path / "mine" / "pipeline.py"
    begun = _processor_s()
    code = main(["features", "audit", str(file), "--home", str(tmp_path / "home")])
    assert code == 0, capsys.readouterr().out
    assert _processor_s() - begun < 60


def _processor_s() -> float:
    """What this process and those that it has waited for have used, whatever else the machine does."""
    return sum(os.times()[:4])


def _auditors(process: int) -> list[int]:
    """The processes in which it computes. It may have had others before, and has not begun then."""
    found = []
    for child in children(process):
        with suppress(OSError):  # gone
            if b"features_audit_child" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at Linux's process table")
def test_ctrl_c_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(PAGE)
    process = subprocess.Popen(
        [sys.executable, "-m", "millrace.cli.main", "features", "audit", FILE, "--home", str(home)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not (auditors := _auditors(process.pid)):
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert not list(home.glob("audit-*"))
    assert not any(map(is_alive, auditors))
