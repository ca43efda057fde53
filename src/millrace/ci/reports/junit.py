"""A stage's checks as JUnit XML, which every CI system shows."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from millrace.ci.types import Check, StageResult

# What XML 1.0 can't hold: terminals' escape codes, for example.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(result: StageResult) -> str:
    """One suite with a case for each check; what was refused is a failure, with its reason."""
    checks = result.checks or (Check(result.stage, "passed" if result.exit_code == 0 else "failed", result.summary),)
    counts = {status: sum(check.status == status for check in checks) for status in ("failed", "skipped")}
    suite = ET.Element(
        "testsuite",
        name=f"millrace {result.stage} {result.target}",
        tests=str(len(checks)),
        failures=str(counts["failed"]),
        errors="0",
        skipped=str(counts["skipped"]),
        time=f"{result.seconds:.3f}",
    )
    for check in checks:
        suite.append(_case(result, check))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(result: StageResult, check: Check) -> ET.Element:
    name = f"millrace.{result.stage}"
    case = ET.Element("testcase", name=_clean(check.name), classname=name, time=f"{check.seconds:.3f}")
    if check.status == "failed":
        ET.SubElement(case, "failure", message=_clean(check.detail)).text = _clean(check.detail)
    elif check.status == "skipped":
        ET.SubElement(case, "skipped", message=_clean(check.detail))
    elif check.detail:
        ET.SubElement(case, "system-out").text = _clean(check.detail)
    return case


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
