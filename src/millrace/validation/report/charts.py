"""The plots of a report, each a small picture: two beside each other on a wide screen, one below the other on a narrow one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from millrace.drawing.svg import Box, Numbers, band, dot, line, number_axis, picture, rect, rule, text
from millrace.validation.report.document import Document

_WIDTH, _HEIGHT = 440, 350
_BOX = Box(52, 12, 372, 280)
_ROW = 24
_CLASSES = 3  # colours: the model, the champion, a linear model


def roc(plots: Document) -> str:
    """True positives by false positives."""
    up, across = _squares()
    parts = [
        *_axes(up, across, "false positives, share of those without", "found, share of those with"),
        rule(_BOX.left, _BOX.bottom, _BOX.right, _BOX.top, "change"),
        *_lines(plots["curves"], "roc", up, across),
    ]
    return picture(_WIDTH, _HEIGHT, parts, "ROC curve: the share found by the share of false positives")


def precision_recall(plots: Document) -> str:
    """Precision by recall; dashed is the share of positives, which guessing reaches."""
    up, across = _squares()
    share = up(plots["curves"][0]["share"])
    parts = [
        *_axes(up, across, "recall: share found", "precision: share of alarms that are right"),
        rule(_BOX.left, share, _BOX.right, share, "change"),
        *_lines(plots["curves"], "precision_recall", up, across),
    ]
    return picture(_WIDTH, _HEIGHT, parts, "Precision by recall")


def calibration(plots: Document) -> str:
    """What came true by what was said, with 95 % intervals for the model itself; on the diagonal it is honest."""
    up, across = _squares()
    parts = [
        *_axes(up, across, "probability that was said", "share that came true"),
        rule(_BOX.left, _BOX.bottom, _BOX.right, _BOX.top, "change"),
    ]
    for number, model in enumerate(plots["calibration"][:_CLASSES]):
        parts += _calibrated(model, number, up, across)
    return picture(_WIDTH, _HEIGHT, parts, "Calibration: the share that came true by the probability that was said")


def scores(plots: Document) -> str:
    """How the scores of both classes are spread."""
    ones, zeros = plots["scores"]["ones"], plots["scores"]["zeros"]
    across = Numbers(_BOX, 0.0, 1.0, across=True)
    up = Numbers(_BOX, 0.0, max(*ones, *zeros) * 1.05)
    parts = [*_axes(up, across, "probability that was said", "share of the class's rows")]
    for css, values in (("p0", zeros), ("p1", ones)):
        parts += _steps(values, css, up, across)
    cut = across(0.5)
    parts.append(rule(cut, _BOX.top, cut, _BOX.bottom, "change"))
    return picture(_WIDTH, _HEIGHT, parts, "Distribution of the scores of both classes")


def confusion(plots: Document) -> str:
    """The four kinds of answers at the threshold."""
    found = plots["confusion"]
    total = sum(found[kind] for kind in ("hit", "false_alarm", "missed", "left"))
    cells = [
        ("hit", 0, 0, "found"),
        ("missed", 1, 0, "missed"),
        ("false_alarm", 0, 1, "false alarm"),
        ("left", 1, 1, "left alone"),
    ]
    width, height, left, top = 158, 120, 104, 40
    parts = [text(left + width, 16, f"said, at a threshold of {found['threshold']:g}", "a", "middle")]
    parts += [
        text(left + (n + 0.5) * width, 34, said, "b", "middle") for n, said in enumerate(("positive", "negative"))
    ]
    parts += [
        text(left - 10, top + (n + 0.5) * height + 4, was, "b", "end")
        for n, was in enumerate(("was positive", "was negative"))
    ]
    for kind, column, row, words in cells:
        x, y = left + column * width, top + row * height
        count = found[kind]
        css = "right" if kind in {"hit", "left"} else "wrong"
        parts.append(rect(x + 2, y + 2, width - 4, height - 4, f"cell {css}"))
        parts.append(text(x + width / 2, y + height / 2 - 4, f"{count:,}", "count", "middle"))
        parts.append(text(x + width / 2, y + height / 2 + 18, f"{words}, {count / total:.1%}", "a", "middle"))
    said = ", ".join(f"{words} {found[kind]:,}" for kind, _, _, words in cells)
    return picture(_WIDTH, top + 2 * height + 12, parts, f"Confusion matrix: {said}")


def slices(plots: Document) -> str:
    """The worst slices, the worst first, with intervals that hold for all slices at once; empty where there are none."""
    found, rows = plots["slices"], plots["slices"]["worst"]
    if not rows:
        return ""
    width, left = 620, 270
    box = Box(left, 6, width - left - 24, _ROW * len(rows) + 6)
    limit = found["limit"] if found["metric"] else 0.0
    values = [each[name] for each in rows for name in ("value", "low", "high") if each[name] is not None]
    across = Numbers.around(box, [*values, limit], across=True)
    parts = [*number_axis(across), rule(across(limit), box.top, across(limit), box.bottom, "zero")]
    for place, each in enumerate(rows):
        parts += _slice(each, across, box.top + _ROW * place + 16)
    said = found["metric"] or "log_loss better than one answer for everybody by"
    parts.append(text(box.right, box.bottom + 34, said, "a", "end"))
    return picture(width, box.bottom + 42, parts, "The worst slices, with intervals")


def _squares() -> tuple[Numbers, Numbers]:
    return Numbers(_BOX, 0.0, 1.0), Numbers(_BOX, 0.0, 1.0, across=True)


def _axes(up: Numbers, across: Numbers, below: str, beside: str) -> Iterator[str]:
    yield from number_axis(up)
    yield from number_axis(across)
    yield text(_BOX.right, _BOX.bottom + 36, below, "a", "end")
    # Inside, where no curve is: a turned text is hard to read.
    yield text(_BOX.left, _BOX.bottom + 36 + 16, f"up: {beside}", "a")


def _lines(curves: Sequence[Document], kind: str, up: Numbers, across: Numbers) -> Iterator[str]:
    # The model itself last, so that it lies on top.
    for number, each in reversed(list(enumerate(curves[:_CLASSES]))):
        points = [(across(x), up(y)) for x, y in each[kind]]
        yield line(points, f"curve {_css(number)}")


def _calibrated(model: Document, number: int, up: Numbers, across: Numbers) -> Iterator[str]:
    bins = model["bins"]
    points = [(across(each["said"]), up(each["seen"])) for each in bins]
    if number == 0:
        upper = [(across(each["said"]), up(each["high"])) for each in bins]
        lower = [(across(each["said"]), up(each["low"])) for each in bins]
        yield band(upper, lower, f"band {_css(number)}")
    yield line(points, f"curve {_css(number)}")
    for (x, y), each in zip(points, bins, strict=True):
        said = f"{model['model']}: said {each['said']:.3f}, came true {each['seen']:.3f}, {each['rows']:,.0f} rows"
        yield dot(x, y, 3, f"f p{number + 1}", said)


def _steps(values: Sequence[float], css: str, up: Numbers, across: Numbers) -> Iterator[str]:
    corners: list[tuple[float, float]] = [(across(0), _BOX.bottom)]
    for number, value in enumerate(values):
        corners += [(across(number / len(values)), up(value)), (across((number + 1) / len(values)), up(value))]
    corners.append((across(1), _BOX.bottom))
    yield band(corners, [(across(1), _BOX.bottom), (across(0), _BOX.bottom)], f"band {css}")
    yield line(corners, f"curve {css}")


def _slice(each: Mapping[str, Any], across: Numbers, y: float) -> Iterator[str]:
    name = each["slice"] if len(each["slice"]) <= 40 else each["slice"][:39] + "…"  # noqa: PLR2004 - what fits
    yield text(across.box.left - 10, y + 4, name, "a", "end")
    if each["low"] is not None and each["high"] is not None:
        yield rule(across(each["low"]), y, across(each["high"]), y, "whisker p1")
    yield dot(across(each["value"]), y, 4, "f p1", f"{each['slice']}: {each['value']:.4f}, {each['rows']:,} rows")


def _css(number: int) -> str:
    return f"d{number} p{number + 1}"
