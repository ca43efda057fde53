"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from millrace.drawing.html import bullets, page_of, sentence, table
from millrace.pipeline.backtest.report import charts
from millrace.pipeline.backtest.report.words import headline, remarks, summary

Document = Mapping[str, Any]


def page(found: Document) -> str:
    """The whole page."""
    sections = [part for section in _sections(found) for part in section]
    return page_of(f"Backtest of {found['pipeline']}", headline(found), sections)


def _sections(found: Document) -> Iterator[Sequence[str]]:
    advice = found["recommendation"]
    yield [
        f"<div class='advice'><strong>Recommended: {escape(advice['policy'])}</strong><p>{escape(advice['reason'])}.</p></div>"
    ]
    yield [table(*summary(found)), *(f"<p class='note'>{escape(sentence(each))}</p>" for each in remarks(found))]
    yield ["<h2>Quality over time</h2>", _QUALITY, _key(found), charts.quality(found)]
    yield ["<h2>What the monitor saw</h2>", _DRIFT, _STATUSES, charts.drift(found)]
    if any(policy["gains"] for policy in found["policies"]):
        yield ["<h2>What each retraining gained</h2>", _GAINS, charts.gains(found), table(*_gains(found))]
    yield ["<h2>What it cost</h2>", charts.cost(found)]
    yield ["<h2>Alarms</h2>", f"<p>{escape(found['false_alarm'])}</p>", table(*_alarms(found))]
    yield ["<h2>Differences</h2>", _DIFFERENCES, table(*_differences(found))]
    yield ["<h2>Decisions</h2>", table(*_attempts(found))]
    yield ["<h2>How it was replayed</h2>", bullets([*_REPLAY, *found["notes"], *_read(found)])]


_QUALITY = (
    "<p>The loss of what was served, by labels that no policy had seen when it decided; lower is better. Bands are 95 % intervals. "
    "Lines lie on each other where policies served the same model. Below: alarms as bars, retrainings as triangles, "
    "hollow where the gates refused. Rest the pointer on one to read its reason.</p>"
)
_DRIFT = "<p>The largest distance between a window's columns and what the model was trained on. Triangles are promotions.</p>"
_STATUSES = (
    "<p class='key'>"
    + " ".join(
        f"<span><svg viewBox='0 0 10 10'><circle class='s-{status}' cx='5' cy='5' r='4'/></svg>{words}</span>"
        for status, words in (
            ("ok", "ok"),
            ("explained", "moved, but explained by the reference's own trend"),
            ("drift", "drift"),
            ("insufficient_data", "insufficient data"),
        )
    )
    + "</p>"
)
_GAINS = "<p>How much lower the loss of the new model was than that of the model before it, on the requests that the new one answered.</p>"
_DIFFERENCES = (
    "<p>How much higher the loss under one policy was than under another, over the requests that different models answered. "
    "The interval draws keys and blocks of time, each with replacement (1,000 draws, 95 %).</p>"
)
_REPLAY = (
    "Every decision saw only what was known at its time: rows by their event time, labels once their horizon had passed.",
    "Verdicts, alarms and decisions are made by the code that production runs.",
    "Training seconds are of the machine that ran the backtest; a training that several policies asked for was done once and counts for each.",
    "Labels of neighbouring times look at overlapping horizons, so blocks of time are not quite independent: intervals are a little too narrow.",
)


def _read(found: Document) -> Sequence[str]:
    tables = ", ".join(f"{name} at version {version}" for name, version in found["tables"].items())
    return [f"Read was {tables}.", f"This backtest is {found['id']}."]


def _key(found: Document) -> str:
    parts = [
        f"<span><svg viewBox='0 0 22 10'><line class='curve d{n % 6} p{n % 6}' x1='0' y1='5' x2='22' y2='5'/></svg>{escape(policy['name'])}</span>"
        for n, policy in enumerate(found["policies"])
    ]
    parts += [
        f"<span><svg viewBox='0 0 22 10'><rect class='e-{alarm}' width='22' height='10'/></svg>{alarm} alarm</span>"
        for alarm in ("true", "false", "unknown")
        if any(policy["alarms"][alarm] for policy in found["policies"])
    ]
    return f"<p class='key'>{' '.join(parts)}</p>"


def _gains(found: Document) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    rows = [
        (
            policy["name"],
            gain["at"][:10],
            f"v{gain['version']}",
            gain["until"][:10],
            f"{gain['labelled']:,}",
            gain["told"],
        )
        for policy in found["policies"]
        for gain in policy["gains"]
    ]
    return ("policy", "promoted", "version", "served until", "labelled answers", "gain"), rows


def _alarms(found: Document) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    rows = [
        (
            policy["name"],
            f"v{each['version']}",
            each["kind"],
            each["opened_at"][:10],
            (each["closed_at"] or "still open")[:10],
            each["alarm"],
            f"{each['reason']}. Afterwards: {each['why']}",
        )
        for policy in found["policies"]
        for each in policy["episodes"]
    ]
    return ("policy", "version", "kind", "opened", "over", "alarm", "reason"), rows


def _differences(found: Document) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Each pair once, in the order in which the policies were named: the other way round it is the same with the sign turned."""
    names = [policy["name"] for policy in found["policies"]]
    return ("policy", "less", "difference in loss"), [
        (each["policy"], each["other"], each["told"])
        for each in found["differences"]
        if names.index(each["policy"]) < names.index(each["other"])
    ]


def _attempts(found: Document) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    rows = [
        (
            policy["name"],
            each["at"][:10],
            "refused" if each["version"] is None else f"v{each['version']}",
            each["model"]["candidate"],
            f"{each['model']['seconds']:.1f}",
            each["why"] + (f". Refused: {each['refused']}" if each["refused"] else ""),
        )
        for policy in found["policies"]
        for each in policy["attempts"]
    ]
    return ("policy", "trained", "version", "candidate", "seconds", "why"), rows
