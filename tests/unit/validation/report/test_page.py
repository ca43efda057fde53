"""The page of a verdict: whole, closed, with words for every picture, whatever the names in it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from millrace.validation.defaults import DEFAULTS, offline
from millrace.validation.judge import as_json, judge
from millrace.validation.report.page import page
from millrace.validation.report.plots import plots
from millrace.validation.types import Evidence
from millrace.validation.worst_slice import WorstSlice
from tests.unit.validation.models import world

NAME = "trees <b> & more"


def document(evidence: Evidence) -> dict[str, Any]:
    return {
        **as_json(judge(offline(DEFAULTS), evidence)),
        "title": "churn v3",
        "subtitle": "as of then",
        "candidate": NAME,
        "intervals": {"roc_auc": [0.8, 0.9], "f1": [None, None]},
        "metrics_of": {"churn v2": {"roc_auc": 0.8, "f1": None}},
        "facts": {"holdout rows": "2,000"},
        "plots": plots(evidence, NAME, WorstSlice()),
    }


@pytest.fixture(scope="module")
def broken() -> dict[str, Any]:
    honest = world(0).evidence
    south = honest.columns["region"] == "south"
    return document(replace(honest, challenger=np.where(south, 1 - honest.challenger, honest.challenger)))


class _Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(value) for name, value in attrs if name in {"src", "href", "data"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag, attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_needs_nothing_else_and_is_light(broken: dict[str, Any]) -> None:
    text = page(broken)
    parsed = _Parsed(text)
    assert (parsed.fetched, parsed.open) == ([], [])
    assert "url(" not in text
    assert "<script" not in text
    assert len(text) < 80_000
    assert "trees &lt;b&gt; &amp; more" in text
    assert "<b>" not in text


def test_who_said_no_is_said_first(broken: dict[str, Any]) -> None:
    text = page(broken)
    assert "<h1>churn v3: refused</h1>" in text
    assert re.search(r"Refused by [a-z_, ]*worst_slice", text)
    assert text.index("</span> worst_slice</strong>") < text.index("</span> no_leakage</strong>")


def test_every_plot_has_words_and_stays_in_its_frame(broken: dict[str, Any]) -> None:
    drawn = [ET.fromstring(each) for each in re.findall(r"<svg viewBox=\"0 0 \d{3}.*?</svg>", page(broken), re.DOTALL)]  # noqa: S314 - our own
    assert [str(each.get("aria-label")).split(":")[0] for each in drawn] == [
        "ROC curve",
        "Precision by recall",
        "Calibration",
        "Distribution of the scores of both classes",
        "Confusion matrix",
        "The worst slices, with intervals",
    ]
    for each in drawn:
        width = float(str(each.get("viewBox")).split()[2])
        points = [value for part in each.iter() for value in re.findall(r"-?[\d.]+", part.get("points") or "")]
        assert all(-1 <= float(value) <= width for value in points)


def test_curves_are_those_of_the_definition() -> None:
    four = Evidence(np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.6, 0.1]), {})
    found = plots(four, "m", None)
    curve = found["curves"][0]
    assert curve["roc"] == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]
    assert curve["precision_recall"] == [[0, 1], [0.5, 1], [1, 0.66667], [1, 0.5]]
    assert found["confusion"] == {"threshold": 0.5, "hit": 2, "false_alarm": 1, "missed": 0, "left": 1}


def test_one_class_has_no_plots_and_a_page_all_the_same() -> None:
    alone = Evidence(np.ones(30, dtype=int), np.full(30, 0.5), {})
    found = document(alone)
    assert found["plots"] == {}
    assert '<svg viewBox="0 0 440' not in page(found)
