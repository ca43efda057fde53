"""What a run keeps of its verdict: a document, and a page with plots, beside the winner's run and under its version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from millrace.core.clock import iso
from millrace.pipeline import training_parts
from millrace.pipeline.context import RunContext
from millrace.pipeline.fitted import Contest
from millrace.statistics.bootstrap import metric_intervals
from millrace.statistics.metrics import METRICS, measure
from millrace.tracking.types import RunId
from millrace.validation.defaults import in_force
from millrace.validation.judge import as_json, finite
from millrace.validation.report.page import page
from millrace.validation.report.plots import plots
from millrace.validation.types import Evidence, GateResult, Verdict
from millrace.validation.worst_slice import WorstSlice

Document = Mapping[str, Any]
REPORT, DOCUMENT = "validation/report.html", "validation/verdict.json"  # artifacts of the winner's run
REPORT_TAG = "millrace.report"  # version tag: where its report is


def report_of(context: RunContext, held: Contest, evidence: Evidence, verdict: Verdict) -> Document:
    """The verdict with what is known around it."""
    pipeline, parts = context.pipeline, training_parts.of_run(context)
    newest = evidence.newest or evidence
    gates = in_force(pipeline.gates, pipeline.skip_gates)
    slices = next((gate for gate in gates if isinstance(gate, WorstSlice)), None)
    others = {name: held.metrics[name] for name in held.metrics if name != held.winner}
    if newest.champion is not None:
        others = {newest.champion_name: measure(newest.labels, newest.champion), **others}
    return {
        **as_json(verdict),
        "title": pipeline.name,
        "subtitle": f"{held.winner}, trained as of {context.pins.as_of:%Y-%m-%d}, judged on {len(held.labels):,} rows",
        "candidate": held.winner,
        "intervals": _intervals(evidence),
        "metrics_of": {name: finite(values) for name, values in others.items()},
        "facts": {
            "training rows": f"{parts.train.record.rows:,}",
            "holdout rows": f"{parts.holdout.record.rows:,}",
            "windows": str(parts.windows),
            "as of": iso(context.pins.as_of),
            "training set": parts.train.record.fingerprint,
            "champion": newest.champion_name or "none",
            "gates not asked": ", ".join(pipeline.skip_gates) or "none",
        },
        "plots": _plain(plots(evidence, held.winner, slices)),
    }


def _intervals(evidence: Evidence) -> Mapping[str, list[float | None]]:
    found = metric_intervals(
        list(METRICS.values()),
        evidence.labels,
        evidence.challenger,
        seed=evidence.seed,
        groups=evidence.groups,
        draws=200,
    )
    kept = {name: finite({"low": each.low, "high": each.high}) for name, each in found.items()}
    return {name: [each["low"], each["high"]] for name, each in kept.items()}


def keep_report(context: RunContext, run: RunId, document: Document) -> str:
    """Keep both with the run; where the page is."""
    tracking = context.services.tracking
    tracking.log_text(run, json.dumps(document, indent=1), DOCUMENT)
    tracking.log_text(run, page(document), REPORT)
    return tracking.where(run, REPORT)


def add_served(context: RunContext, run: RunId, results: Sequence[GateResult], version: str) -> None:
    """Add what the gates said of the model as it is served."""
    kept: dict[str, Any] = json.loads(context.services.tracking.read_text(run, DOCUMENT))
    answers = as_json(Verdict(all(each.passed for each in results), tuple(results), {}))
    names = {each.gate for each in results}
    gates = [each for each in kept["gates"] if each["gate"] not in names]
    kept["gates"] = [*gates, *cast("list[object]", answers["gates"])]
    kept["passed"] = all(each["passed"] for each in kept["gates"])
    kept["title"] = f"{context.pipeline.name} v{version}"
    keep_report(context, run, kept)


def _plain(value: Any) -> Any:
    """JSON without what is not finite."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value  # noqa: PLR0124
