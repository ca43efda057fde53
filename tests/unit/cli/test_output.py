from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from rich.console import Console

from millrace.cli.output import duration, shown, size
from millrace.cli.progress import LiveDisplay, progress
from millrace.pipeline.plain_lines import PlainLines


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(days=20, hours=16, minutes=5), "20 d 16 h"),
        (timedelta(minutes=3, seconds=19.5), "3 min 19 s"),
        (timedelta(0), "0 s"),
        (-timedelta(hours=1), "-1 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(span: timedelta, text: str) -> None:
    assert duration(span) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (47149.0, "47,149"),
        (1e20, "1e+20"),
        (Decimal("1.50"), "1.50"),
        (datetime(2025, 3, 1, 1, tzinfo=timezone(timedelta(hours=1))), "2025-03-01 00:00:00"),
        ("text", "text"),
    ],
)
def test_values_as_a_person_reads_them(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_550_000, "1.6 MB"), (2 * 10**9, "2.0 GB"), (10**15, "1000.0 TB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_plain_lines_are_one_per_stage_that_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(plain=True) as shown_to:
        shown_to.stage("features", "running")
        shown_to.advance("features", 1, 10)
        shown_to.stage("features", "done", "10 snapshots", 1.25)
        shown_to.stage("train", "skipped")
        shown_to.stage("validate", "refused", "too bad", 0.04)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "[ok] features 1.2 s: 10 snapshots\n[--] train\n[no] validate 0.0 s: too bad\n"


def test_a_long_stage_speaks_up_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.pipeline.plain_lines._QUIET_S", 0.0)
    lines = PlainLines()
    lines.stage("features", "running")
    lines.advance("features", 3, 10)
    assert capsys.readouterr().err == "[..] features 3 of 10\n"


def test_a_terminal_gets_a_live_table() -> None:
    display = LiveDisplay(Console(file=io.StringIO()))
    display.stage("features", "running")
    display.advance("features", 5, 10)
    display.stage("publish", "running")
    display.stage("publish", "done", "12 keys online", 0.5)
    display.advance("not told of", 1, 2)
    screen = Console(file=io.StringIO(), width=100)
    screen.print(display.render())
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert "##########.......... 5 of 10" in text
    assert "12 keys online" in text
    assert "0.5 s" in text
    assert "not told of" not in text
