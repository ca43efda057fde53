"""The report of a verdict: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from millrace.drawing.html import page_of, sentence, table
from millrace.validation.report import charts
from millrace.validation.report.document import Document, headline


def page(document: Document) -> str:
    """The whole page.

    Args:
        document: what `judge.as_json` gives, with `title`, `candidate`, `facts` (name to words), `metrics_of` (model to metrics), `intervals`
            and `plots`, as `pipeline.verdicts` puts it together.
    """
    state = "passed" if document["passed"] else "refused"
    return page_of(f"{document['title']}: {state}", document["subtitle"], list(_sections(document)))


def _sections(document: Document) -> Iterator[str]:
    css = "yes" if document["passed"] else "no"
    yield f"<div class='advice {css}'><strong>{escape(sentence(headline(document)))}</strong>{_refusals(document)}</div>"
    yield "<h2>Gates</h2>" + _gates(document)
    yield "<h2>Metrics</h2>" + table(*_metrics(document))
    if document["plots"]:
        yield from _plots(document["plots"])
    yield "<h2>What was judged</h2>" + table(("fact", "is"), list(document["facts"].items()))


def _refusals(document: Document) -> str:
    names = [each["gate"] for each in document["gates"] if not each["passed"]]
    return f"<p>Refused by {escape(', '.join(names))}.</p>" if names else ""


def _gates(document: Document) -> str:
    items = []
    for each in sorted(document["gates"], key=lambda one: bool(one["passed"])):
        css, mark, word = ("yes", "&#10003;", "passed") if each["passed"] else ("no", "&#10007;", "said no")
        items.append(
            f"<li class='{css}'><strong><span aria-hidden='true'>{mark}</span> {escape(each['gate'])}</strong> "
            f"<span class='sub'>{word}</span><p>{escape(each['reason'])}</p></li>"
        )
    return f"<ul class='gates'>{''.join(items)}</ul>"


def _metrics(document: Document) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    names = list(document["metrics_of"])
    rows = []
    for metric, value in document["metrics"].items():
        low, high = document["intervals"].get(metric) or (None, None)
        between = "" if low is None or high is None else f"{low:.4f} to {high:.4f}"
        others = [_figure(document["metrics_of"][name].get(metric)) for name in names]
        rows.append((metric, _figure(value), between, *others))
    return ("metric", document["candidate"], "95 % interval", *names), rows


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _plots(plots: Document) -> Iterator[str]:
    key = _key([each["model"] for each in plots["curves"]])
    yield "<h2>Ranking</h2>" + _RANKING + key
    yield _pair(charts.roc(plots), charts.precision_recall(plots))
    yield "<h2>Calibration</h2>" + _CALIBRATION + key
    yield _pair(charts.calibration(plots), _CLASSES + charts.scores(plots))
    yield "<h2>Answers at the threshold</h2>" + _pair(charts.confusion(plots), css="half")
    if plots["slices"]["worst"]:
        yield "<h2>Slices</h2>" + _slices_said(plots["slices"]) + _pair(charts.slices(plots), css="one")


_RANKING = (
    "<p>Both curves say how well the scores put the rows in order, whatever the threshold. Up and to the left, and up and to the right, "
    "is better; the dashed line is guessing.</p>"
)
_CALIBRATION = (
    "<p>Of the rows that were given 30 %, 30 in 100 should come true: then a point lies on the dashed line. Below it the model says too much, "
    "above it too little. The band is the 95 % interval.</p>"
)
_CLASSES = (
    "<p class='key'><span><svg viewBox='0 0 22 10' aria-hidden='true'><rect class='f p1' width='22' height='10'/></svg>came true</span> "
    "<span><svg viewBox='0 0 22 10' aria-hidden='true'><rect class='f p0' width='22' height='10'/></svg>did not</span></p>"
)


def _slices_said(slices: Document) -> str:
    shown, count = len(slices["worst"]), slices["count"]
    what = slices["metric"] or "how much better the log-loss is than with one answer for everybody"
    return (
        f"<p>The {shown} worst of {count} slices by {escape(what)}. Intervals hold for all {count} at once: they are wider than "
        "those of one slice would be.</p>"
    )


def _key(models: Sequence[str]) -> str:
    parts = [
        f"<span><svg viewBox='0 0 22 10' aria-hidden='true'><line class='curve d{n} p{n + 1}' x1='0' y1='5' x2='22' y2='5'/></svg>{escape(name)}</span>"
        for n, name in enumerate(models)
    ]
    return f"<p class='key'>{' '.join(parts)}</p>"


def _pair(*drawn: str, css: str = "") -> str:
    return f"<div class='pair {css}'>" + "".join(f"<div>{each}</div>" for each in drawn) + "</div>"
