from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.pipeline.audit.findings import AuditReport, Check, Finding, ordered, taken
from millrace.pipeline.audit.job import Answer, Job, Thresholds
from millrace.pipeline.audit.rules import TableRule, View

T = datetime(2025, 3, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("check", "names", "severity"),
    [
        ("dimensions", {"bronze.people"}, "warning"),
        ("lookups", {"bronze.people"}, "warning"),
        ("label likeness", {"region"}, "warning"),
        ("dimensions", {"bronze.other"}, "leak"),
        ("functions", {"bronze.people", "region"}, "leak"),  # a mistake in code is no risk that can be taken
    ],
)
def test_what_can_be_accepted(check: Check, names: set[str], severity: str) -> None:
    finding = Finding(check, "leak", "bronze.people", "it leaks", column="region")
    accepted = finding.accepted(names)
    assert accepted.severity == severity
    assert accepted.fact.startswith("accepted: ") is (severity == "warning")


def test_the_worst_comes_first_and_once() -> None:
    fine, doubt, leak = (Finding("history", severity, "t", "f") for severity in ("ok", "warning", "leak"))
    found = ordered([fine, doubt, leak, doubt])
    assert [one.severity for one in found] == ["leak", "warning", "ok"]
    assert AuditReport("shop", [T], found).leaks == [leak]
    assert AuditReport("shop", [T], found).audited
    assert not AuditReport("shop", [T], [doubt]).audited


def test_a_job_and_its_answer_read_back(tmp_path: Path) -> None:
    view = View("at", T - datetime(2025, 3, 1, tzinfo=UTC), "until")
    rule = TableRule("bronze.t", (view,), ("id",), ("id", "at"), "start", declared=True, named=False)
    job = Job(
        tmp_path / "page.py",
        "shop",
        "sqlite:///x",
        "altered",
        T,
        [rule],
        [T],
        [T],
        look=True,
        trains=True,
        samples=[T],
        thresholds=Thresholds(0.9),
    )
    job.save(tmp_path)
    assert Job.load(tmp_path) == job
    rows = pa.table({"id": [1], "v": ["é"]})
    finding = Finding("functions", "leak", "t", "f", "h", T, "c", {"keys": 3})
    Answer({("a.b.c", T): rows}, {("a.b.d", T): "why"}, [finding], ("no", "hint")).save(tmp_path)
    answer = Answer.load(tmp_path)
    assert answer.snapshots["a.b.c", T].equals(rows)
    assert (answer.failures, answer.findings) == ({("a.b.d", T): "why"}, [finding])
    assert answer.error == ("no", "hint")


def test_a_name_to_accept_that_nothing_is_about_is_told() -> None:
    leak = Finding("dimensions", "leak", "bronze.customers", "changed")
    (found, unknown) = taken([leak], {"main.bronze.customers", "bronze.custmers"})
    assert (found.severity, found.subject) == ("warning", "bronze.customers")
    assert (unknown.severity, unknown.subject) == ("warning", "bronze.custmers")
    assert "bronze.customers" in unknown.hint
    assert taken([leak], set()) == [leak]
