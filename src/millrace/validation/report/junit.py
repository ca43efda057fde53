"""A verdict as JUnit XML, which every CI shows: a gate is a test case, a no is a failure."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from millrace.validation.report.document import Document, missed

# What XML 1.0 can't hold, whatever it is escaped as.
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(document: Document, suite: str) -> str:
    """One `testsuite` in `testsuites`, a `testcase` for each gate; reasons are its `failure` or its `system-out`.

    Args:
        document: `gates` of `judge.as_json`.
        suite: the suite's name, as `customer_churn`; cases have it as their class too.
    """
    counts = {"tests": str(len(document["gates"])), "failures": str(missed(document)), "errors": "0", "skipped": "0"}
    root = ET.Element("testsuites", {"name": "millrace", **counts})
    body = ET.SubElement(root, "testsuite", {"name": _xml(suite), **counts, "time": "0"})
    for each in document["gates"]:
        case = ET.SubElement(body, "testcase", {"name": _xml(each["gate"]), "classname": _xml(suite), "time": "0"})
        reason = _xml(each["reason"])
        if each["passed"]:
            ET.SubElement(case, "system-out").text = reason
        else:
            ET.SubElement(case, "failure", {"message": reason, "type": "gate"}).text = reason
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml(words: str) -> str:
    return _NOT_XML.sub("\ufffd", str(words))
