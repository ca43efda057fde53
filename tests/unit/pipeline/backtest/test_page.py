from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from math import log
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import millrace as mr
from millrace.pipeline.backtest.quality import Measured
from millrace.pipeline.backtest.report.page import page
from millrace.pipeline.backtest.report.words import headline, remarks, summary
from millrace.pipeline.backtest.result import Document, document
from millrace.pipeline.backtest.types import Alert, Policy, Prepared, Seen
from tests.unit.pipeline.backtest.scenes import NEVER, ask, at, declared, run
from tests.unit.pipeline.backtest.test_quality import SCENE, scores_of

DRIFT = Policy("drift <b>", mr.Retrain(on=("drift",)))
ALERT = Alert(1, 1, "drift", at(2), at(3), at(4), "amount: KS 0.3 > 0.1 & more")


@pytest.fixture(scope="module")
def found() -> Document:
    """Twelve weeks; one policy retrains in the fourth, which is better; the last two weeks have no labels."""
    asked = ask(11, NEVER, DRIFT, changes=[at(1)])
    seen = [
        Seen(at(week), "drift", "explained" if week < 3 else "drift", "warning", 0.1 * week, "moved")
        for week in range(1, 5)
    ]
    runs = [
        run(NEVER, {0: 1}, 11, verdicts=tuple(seen)),
        run(DRIFT, {0: 1, 4: 2}, 11, alerts=(ALERT,), verdicts=tuple(seen)),
    ]
    measured = Measured(SCENE, asked, scores_of, "log_loss", seed=0)
    losses = {at(0): np.tile([0.4, 0.6], 50), at(4): np.tile([0.2, 0.3], 50)}
    prepared = Prepared(asked, "abc123", {})
    made: Document = document(declared(), prepared, SCENE, runs, measured=measured, holdout_losses=losses)
    return made


class _Links(HTMLParser):
    """What a page would fetch, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(value) for name, value in attrs if name in {"src", "href", "data"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag, attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(found: Document) -> None:
    text, links = page(found), _Links()
    links.feed(text)
    assert links.fetched == []
    assert links.open == []
    assert "url(" not in text
    assert "<script" not in text


def test_every_plot_is_a_picture_with_words_for_those_who_can_not_see_it(found: Document) -> None:
    plots = re.findall(r"<svg viewBox=\"0 0 940.*?</svg>", page(found), re.DOTALL)
    assert len(plots) == 4
    for plot in plots:
        drawn = ET.fromstring(plot)  # noqa: S314 - our own
        assert drawn.get("aria-label")
        numbers = [value for each in drawn.iter() for value in re.findall(r"-?[\d.]+", each.get("points") or "")]
        assert all(-10 <= float(value) <= 960 for value in numbers)


def test_names_and_reasons_are_text_whatever_they_hold(found: Document) -> None:
    text = page(found)
    assert "drift <b>" not in text
    assert "drift &lt;b&gt;" in text
    assert "KS 0.3 &gt; 0.1 &amp; more" in text


def test_each_pair_of_policies_is_compared_once(found: Document) -> None:
    section = page(found).split("<h2>Differences</h2>")[1].split("</table>")[0]
    assert section.count("<td>") == 3
    assert "<td>never</td><td>drift &lt;b&gt;</td>" in section


def test_the_table_marks_what_is_recommended(found: Document) -> None:
    columns, rows = summary(found)
    assert len(columns) == len(rows[0])
    assert [row[0] for row in rows] == ["never", "drift <b> *"]
    assert rows[0][1] == f"{-log(0.6):.4f}"
    assert rows[1][1] == f"{-(4 * log(0.6) + 6 * log(0.8)) / 10:.4f}"
    assert found["recommendation"]["told_apart"]


def test_the_words_say_what_nobody_knows_and_what_is_no_alarm(found: Document) -> None:
    said = remarks(found)
    assert any(text.startswith("insufficient data after 2025-03-10") and "100 answers" in text for text in said)
    assert (
        "drift verdicts that are explained, which is no alarm: 2 of 4 under never, 2 of 4 under drift <b> (moved)"
        in said
    )
    assert headline(found).startswith("shop, 2025-01-06 to 2025-03-24: 600 requests, a decision every 7 days")


def test_what_it_cost_is_counted_without_the_first_training(found: Document) -> None:
    never, drift = (policy["cost"] for policy in found["policies"])
    assert (never["trainings"], never["seconds"]) == (0, 0)
    assert (drift["trainings"], drift["promoted"], drift["seconds"], drift["rows"]) == (1, 1, 2.0, 10)


def test_an_alarm_after_a_named_change_is_told_as_true(found: Document) -> None:
    (alarm,) = found["policies"][1]["episodes"]
    assert (alarm["alarm"], alarm["why"]) == ("true", "something changed on 2025-01-13, as you named it")


def test_where_nothing_could_be_served_the_page_says_so() -> None:
    empty = run(NEVER, {}, 11)
    refused = replace(run(NEVER, {0: 1}, 11).attempts[0], version=None, refused="no better than guessing")
    asked = ask(11)
    measured = Measured(SCENE, asked, scores_of, "log_loss", seed=0)
    none = document(
        declared(),
        Prepared(asked, "x", {}),
        SCENE,
        [replace(empty, attempts=(refused,))],
        measured=measured,
        holdout_losses={},
    )
    assert "insufficient data" in summary(none)[1][0]
    assert remarks(none)[0] == "no model passed its gates, so nothing was served: no better than guessing"
    assert "no better than guessing" in page(none)
