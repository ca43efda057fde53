"""A year of real purchases under four policies: one cohort that grows old, and labels that end before the record does.

The data is CDNOW_master.txt, as in `test_cdnow.py`; the pipeline is the one of `examples/cdnow`, as `docs/backtest.md` runs it.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_FILE = Path(os.environ.get("MILLRACE_CDNOW") or ROOT / ".." / "shared" / "data" / "cdnow" / "CDNOW_master.txt")
PAGE = ROOT / "examples" / "cdnow" / "pipeline.py"

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

if not _FILE.is_file():  # of the whole module: `--no-skips` is about what `make test-all` can install, and this is not
    pytest.skip(f"{_FILE} is not there; see the top of test_cdnow.py", allow_module_level=True)


@dataclass(frozen=True)
class Found:
    """What the command said, as JSON and as text, and what it took."""

    result: dict[str, Any]
    text: str
    processor_s: float
    peak_bytes: int

    def policy(self, name: str) -> dict[str, Any]:
        return next(each for each in self.result["policies"] if each["name"] == name)


def _write_purchases(file: Path) -> None:
    """The file's rows: customer, day, number of items, amount."""
    fields = (line.split() for line in _FILE.read_text().splitlines())
    rows = [each for each in fields if len(each) == 4 and each[0].isdigit()]
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(["customer_id", "date", "items", "amount"])
        for customer, day, items, amount in rows:
            writer.writerow([int(customer), f"{day[:4]}-{day[4:6]}-{day[6:]}", items, amount])


def _millrace(home: Path, *arguments: object) -> str:
    command = [sys.executable, "-m", "millrace.cli.main", *map(str, arguments), "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    root = tmp_path_factory.mktemp("cdnow")
    home, purchases = root / "home", root / "purchases.csv"
    _write_purchases(purchases)
    _millrace(home, "table", "import", "bronze.purchases", purchases, "--type", "amount=decimal(10,2)")
    asked = ("backtest", PAGE, "--from", "1997-07-07", "--to", "1998-06-29", "--step", "7d")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(_millrace(home, *asked, "--json"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Found(result, _millrace(home, *asked), spent, after.ru_maxrss * 1024)


def test_it_takes_minutes_and_not_all_memory(found: Found) -> None:
    # Of processors' time, so that a busy machine does not count: with one or more of them it is at least the time that passes.
    assert found.processor_s < 300
    assert found.peak_bytes < 4e9


def test_all_purchases_and_all_customers_are_replayed(found: Found) -> None:
    assert [each["name"] for each in found.result["policies"]] == ["never", "monthly", "drift", "loss"]
    assert found.result["replayed"] == 52 * 23_570  # all first purchases are before July 1997; a Monday each
    assert found.result["tables"] == {"bronze.purchases": 1}


def test_after_the_last_label_nothing_is_claimed(found: Found) -> None:
    assert found.result["labelled_until"] == "1998-03-30T00:00:00Z"  # 90 days before the end
    for policy in found.result["policies"]:
        late = [each for each in policy["quality"] if each["start"] > "1998-03-30T00:00:00Z"]
        assert len(late) == 13
        assert {each["loss"] for each in late} == {None}
        assert {each["rows"] for each in late} == {23_570}  # who goes on asking
        assert all(
            "insufficient data" in gain["told"] for gain in policy["gains"] if gain["at"] > "1998-03-30T00:00:00Z"
        )
    assert "insufficient data after 1998-03-30: labels take 90 days" in found.text


def test_the_age_of_the_cohort_is_explained_and_raises_no_alarm(found: Found) -> None:
    never = found.policy("never")
    assert never["verdicts"]["drift"].get("explained", 0) >= 20
    explained = [each["reason"] for each in never["drift"] if each["status"] == "explained"]
    assert explained[0] == "days_since_first: drift explained by cohort age: grows 1.00 a day, as in the reference"
    assert "drift verdicts that are explained, which is no alarm" in found.text


def test_nobody_cries_wolf(found: Found) -> None:
    for policy in found.result["policies"]:
        # The estimate alone is wrong, at most once with each version, and says so as soon as there are labels to check it.
        known = [each for each in policy["episodes"] if each["alarm"] != "unknown"]
        assert {each["kind"] for each in known} <= {"estimate"}, [each["reason"] for each in known]
        assert len(known) <= policy["cost"]["promoted"] + 1


def test_a_calendar_is_for_ageing(found: Found) -> None:
    advice = found.result["recommendation"]
    assert advice["policy"] == "monthly", advice["reason"]
    assert advice["told_apart"]
    assert found.policy("monthly")["loss"]["mean"] < 0.38
    assert found.policy("never")["loss"]["mean"] > 0.39
    assert f"recommended: monthly, because {advice['reason']}" in found.text


def test_each_retraining_says_what_it_gained(found: Found) -> None:
    gains = [gain for gain in found.policy("monthly")["gains"] if gain["mean"] is not None]
    assert len(gains) >= 5
    assert all(gain["low"] > 0 for gain in gains)
    assert all(gain["labelled"] >= 90_000 for gain in gains)


def test_the_page_is_one_file_with_plots(found: Found) -> None:
    page = Path(found.result["report"]).read_text()
    assert page.count('<svg viewBox="0 0 940') == 4
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "insufficient data: labels take 90 days" in page or "no labels yet" in page
