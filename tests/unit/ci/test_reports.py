from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.ci.reports.html import to_html
from millrace.ci.reports.junit import to_junit
from millrace.ci.reports.markdown import to_markdown
from millrace.ci.reports.providers import running_in
from millrace.ci.reports.write import write_reports
from millrace.ci.types import Check, StageResult

REFUSED = StageResult(
    "validate",
    "dev",
    "refused",
    "ml.models.churn v3 is refused by 1 of 2 gates",
    (
        Check("at_least", "passed", "roc_auc 0.81: reached"),
        Check("beats_<linear>|", "failed", "worse | than `linear`\n<script>alert(1)</script> by 3 %\x1b[31m]", 1.25),
        Check("slow", "skipped", "not asked"),
    ),
    {
        "model": "ml.models.churn",
        "version": "3",
        "commit": "1a2b",
        "metrics": {"roc_auc": 0.8123456},
        "changed_files": [],
    },
    2.5,
    "train again",
)


def test_exit_codes() -> None:
    codes = {
        status: StageResult("train", "dev", status, "").exit_code
        for status in ("passed", "waiting", "failed", "refused")
    }
    assert codes == {"passed": 0, "waiting": 0, "failed": 1, "refused": 3}


def test_junit_has_a_case_for_each_check_and_the_reason_of_each_refusal() -> None:
    root = ET.fromstring(to_junit(REFUSED))  # noqa: S314 - our own
    (suite,) = root
    assert suite.attrib | {"time": ""} == {
        "name": "millrace validate dev",
        "tests": "3",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
        "time": "",
    }
    passed, failed, skipped = suite
    assert passed.attrib == {"name": "at_least", "classname": "millrace.validate", "time": "0.000"}
    assert passed.findtext("system-out") == "roc_auc 0.81: reached"
    failure = failed.find("failure")
    assert failure is not None
    assert "worse | than `linear`\n<script>" in (failure.text or "")
    assert "\x1b" not in (failure.text or "")
    assert skipped.find("skipped") is not None


@given(st.text(), st.text())
def test_whatever_a_reason_says_both_can_be_read(name: str, reason: str) -> None:
    said = replace(REFUSED, checks=(Check(name, "failed", reason),))
    ET.fromstring(to_junit(said))  # noqa: S314 - our own
    assert len([line for line in to_markdown(said).splitlines() if line.startswith("| ❌")]) == 1


def test_a_stage_without_checks_is_one_case() -> None:
    root = ET.fromstring(to_junit(StageResult("train", "dev", "failed", "no table")))  # noqa: S314 - our own
    assert root[0].attrib["tests"] == root[0].attrib["failures"] == "1"


def test_markdown_keeps_what_comes_from_data_from_being_markup() -> None:
    text = to_markdown(REFUSED)
    rows = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert rows == [
        "| ❌ | beats\\_&lt;linear>\\| | worse \\| than \\`linear\\` &lt;script>alert(1)&lt;/script> by 3 %\x1b\\[31m\\] | 1.2 |"
    ]
    assert text.startswith("## ❌ validate in dev: refused\n\nml.models.churn v3 is refused by 1 of 2 gates\n")
    assert "- **metrics**: roc_auc 0.8123" in text
    assert "changed files" not in text
    assert text.endswith("> train again\n")


def test_the_page_holds_the_same_and_nothing_from_elsewhere() -> None:
    page = to_html(REFUSED)
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "http" not in page
    assert "roc_auc 0.81: reached" in page


def test_all_reports_are_files_and_a_person_gets_nothing_else(tmp_path: Path) -> None:
    stream = io.StringIO()
    write_reports(REFUSED, tmp_path / "out", {}, stream=stream)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        f"validate.{kind}" for kind in ("html", "json", "md", "xml")
    ]
    kept = json.loads((tmp_path / "out" / "validate.json").read_text())
    assert (kept["status"], kept["exit_code"], kept["facts"]["version"]) == ("refused", 3, "3")
    assert stream.getvalue() == ""


def test_what_is_attached_is_a_file_and_not_in_the_json(tmp_path: Path) -> None:
    write_reports(replace(REFUSED, attachments={"report.html": "<p>plots</p>"}), tmp_path, {}, stream=io.StringIO())
    assert (tmp_path / "validate.report.html").read_text() == "<p>plots</p>"
    assert "plots" not in (tmp_path / "validate.json").read_text()


def test_github_gets_a_summary_values_and_an_annotation_on_one_line(tmp_path: Path) -> None:
    env = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "values"),
    }
    stream = io.StringIO()
    write_reports(REFUSED, tmp_path, env, stream=stream)
    assert (tmp_path / "summary").read_text() == to_markdown(REFUSED)
    assert "version=3\n" in (tmp_path / "values").read_text()
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("::error title=millrace validate::worse | than `linear`%0A<script>")
    assert "3 %25" in line


def test_azure_gets_logging_commands(tmp_path: Path) -> None:
    stream = io.StringIO()
    write_reports(REFUSED, tmp_path, {"TF_BUILD": "True"}, stream=stream)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("##vso[task.logissue type=error]worse | than `linear`%0A<script>")
    assert "##vso[task.setvariable variable=millrace_version;isOutput=true]3" in lines
    assert lines[-1] == f"##vso[task.uploadsummary]{tmp_path / 'validate.md'}"


def test_gitlab_gets_files_that_the_job_names(tmp_path: Path) -> None:
    write_reports(REFUSED, tmp_path, {"GITLAB_CI": "true"}, stream=io.StringIO())
    values = (tmp_path / "validate.env").read_text()
    assert "MILLRACE_CI_VERSION=3\n" in values
    assert "MILLRACE_TARGET" not in values
    assert (tmp_path / "validate.metrics.txt").read_text() == 'millrace_holdout{metric="roc_auc"} 0.8123456\n'


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ({}, None),
        ({"GITHUB_ACTIONS": "false"}, None),
        ({"TF_BUILD": "True"}, "azure-devops"),
        ({"GITLAB_CI": "true"}, "gitlab"),
    ],
)
def test_which_system_it_is(env: dict[str, str], found: str | None) -> None:
    assert running_in(env) == found
