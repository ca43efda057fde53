"""Markdown and JUnit of a verdict."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from millrace.validation.report.junit import junit
from millrace.validation.report.markdown import markdown

PASSED = {"gate": "at_least", "passed": True, "reason": "roc_auc 0.8412: reached", "figures": {}}
REFUSED = {"gate": "worst_slice", "passed": False, "reason": "region = 'a|b' <x> & y: worse", "figures": {}}
VERDICT = {
    "passed": False,
    "metrics": {"roc_auc": 0.8412, "f1": None},
    "intervals": {"roc_auc": [0.82, 0.86]},
    "gates": [PASSED, REFUSED],
}


def test_markdown() -> None:
    assert markdown(VERDICT, "churn v3").splitlines() == [
        "## churn v3: refused",
        "",
        "1 of 2 gates said no.",
        "",
        "| gate | verdict | reason |",
        "|---|---|---|",
        r"| at\_least | passed | roc\_auc 0.8412: reached |",
        r"| worst\_slice | **no** | region = 'a\|b' \<x\> & y: worse |",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
        r"| roc\_auc | 0.8412 | 0.8200 to 0.8600 |",
        "| f1 | not defined |  |",
    ]


def test_junit() -> None:
    root = ET.fromstring(junit(VERDICT, "churn"))  # noqa: S314 - our own
    suite = root[0]
    assert (root.tag, suite.tag, suite.attrib["tests"], suite.attrib["failures"]) == (
        "testsuites",
        "testsuite",
        "2",
        "1",
    )
    assert [(case.attrib["name"], [part.tag for part in case]) for case in suite] == [
        ("at_least", ["system-out"]),
        ("worst_slice", ["failure"]),
    ]
    assert suite[1][0].attrib["message"] == REFUSED["reason"]


def test_without_gates_and_metrics() -> None:
    empty = {"passed": True, "metrics": {}, "gates": []}
    assert "no gate was asked" in markdown(empty, "churn")
    assert ET.fromstring(junit(empty, "churn")).attrib["tests"] == "0"  # noqa: S314 - our own


@given(st.text(), st.text())
def test_whatever_a_reason_says_both_can_be_read(reason: str, title: str) -> None:
    said = {**VERDICT, "gates": [{**REFUSED, "reason": reason}]}
    ET.fromstring(junit(said, title))  # noqa: S314 - our own
    rows = [line for line in markdown(said, title).splitlines() if line.startswith("| worst")]
    assert len(rows) == 1
