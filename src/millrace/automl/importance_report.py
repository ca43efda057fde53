"""Importance as a table and as a picture, to be kept with the search's run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence

from millrace.automl.types import Importance, Problem
from millrace.drawing import svg

_SHOWN, _LONGEST = 25, 28
_LINE, _LEFT, _WIDTH = 22, 190, 640
_COLOURS = (
    "<style>text{font:12px system-ui,sans-serif;fill:#1d2330}.a{fill:#5b6475}.g{stroke:#e3e6ec}.zero{stroke:#5b6475}"
    ".bar{fill:#0072b2;opacity:.75}.whisker{stroke:#1d2330;stroke-width:1.5}.paper{fill:#fff}</style>"
)


def importance_csv(found: Sequence[Importance]) -> str:
    """A line for each column, the most important first: what the metric loses, with its interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["column", "loss", "low", "high", "spread"])
    writer.writerows([each.column, each.loss, *_shown(each.low, each.high), each.spread] for each in found)
    return text.getvalue()


def importance_svg(found: Sequence[Importance], problem: Problem) -> str:
    """Bars of the most important columns, with their intervals."""
    shown = found[:_SHOWN]
    box = svg.Box(_LEFT, 40, _WIDTH - _LEFT - 20, _LINE * max(len(shown), 1))
    ends = [value for each in shown for value in (each.loss, each.low, each.high) if not math.isnan(value)]
    across = svg.Numbers.around(box, ends or [0.0], across=True, zero=True)
    title = f"How much worse {problem.metric} gets when a column is shuffled"
    more = (
        f"the {len(shown)} most important of {len(found)} columns"
        if len(found) > len(shown)
        else "on rows that the models did not see"
    )
    parts = [
        _COLOURS,
        f'<rect class="paper" width="{_WIDTH}" height="{box.bottom + 30:g}"/>',
        svg.text(12, 18, title),
        svg.text(12, 33, f"{more}; lines are 95 % intervals", "a"),
        *svg.number_axis(across),
        *(part for place, each in enumerate(shown) for part in _bar(each, box.top + place * _LINE, across)),
        svg.rule(across(0.0), box.top, across(0.0), box.bottom, "zero"),
    ]
    return svg.picture(_WIDTH, box.bottom + 30, parts, title)


def _bar(each: Importance, top: float, across: svg.Numbers) -> Iterator[str]:
    start, end, middle = across(min(each.loss, 0.0)), across(max(each.loss, 0.0)), top + _LINE / 2
    yield svg.text(
        _LEFT - 8,
        middle + 4,
        each.column if len(each.column) <= _LONGEST else each.column[: _LONGEST - 1] + "…",
        anchor="end",
    )
    yield svg.rect(start, top + 4, end - start, _LINE - 8, "bar", title=f"{each.column}: {each.loss:.4g}")
    if not math.isnan(each.low):
        yield svg.rule(across(each.low), middle, across(each.high), middle, "whisker")


def _shown(*values: float) -> list[object]:
    return ["" if math.isnan(value) else value for value in values]
