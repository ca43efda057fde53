"""What the quickstart tells at its end, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from millrace.core.clock import iso
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.retrain import in_production
from millrace.registry.types import ModelName, Promotion
from millrace.workspace import Workspace

_SHOWN = ("roc_auc", "log_loss", "accuracy", "f1")


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage of the story."""

    name: str
    status: str
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened.

    Attributes:
        began: the known day of the change; None where nothing changed.
        detected: when the alert opened, in virtual time; None where none did.
        retrained: the version that a retraining brought into production; None where there was none.
        scored, differing: logged rows, and how many of them have a feature that differs from the offline lookup.
    """

    stages: Sequence[StageResult]
    began: datetime | None
    detected: datetime | None
    reason: str
    retrained: str | None
    scored: int
    differing: int


def as_json(workspace: Workspace, pipeline: Pipeline, outcome: Outcome) -> dict[str, object]:
    """The JSON object that `millrace quickstart --json` prints."""
    return {
        "stages": [
            {"name": s.name, "status": s.status, "seconds": round(s.seconds, 3), "detail": s.detail}
            for s in outcome.stages
        ],
        "models": models(workspace, pipeline),
        "drift": {"began": _iso(outcome.began), "detected": _iso(outcome.detected), "reason": outcome.reason},
        "retrained": outcome.retrained is not None,
        "retrained_version": outcome.retrained,
        "scored": outcome.scored,
        "online_offline_differences": outcome.differing,
        "endpoint": pipeline.endpoint,
        "tables": tables(workspace),
        "home": str(workspace.home),
    }


def models(workspace: Workspace, pipeline: Pipeline) -> list[dict[str, object]]:
    """Each version that was in production: its alias now, which candidate it is, its metrics on its holdout.

    `champion_metrics` are those of the version before, on the same rows.
    """
    found: dict[str, dict[str, object]] = {}
    for promotion in _to_production(workspace, pipeline):
        verdict = promotion.verdict
        if "metrics" in verdict and promotion.version not in found:
            found[promotion.version] = {
                "version": str(promotion.version),
                "candidate": verdict["winner"],
                "metrics": verdict["metrics"],
                "champion_metrics": verdict["champion_metrics"],
            }
    aliases = _aliases(workspace, pipeline)
    return [{**facts, "alias": aliases.get(version, "")} for version, facts in found.items()]


def tables(workspace: Workspace) -> dict[str, int]:
    """Full table name to row count."""
    return {str(entry.name): workspace.lake.rows(entry.name) for entry in workspace.lake.catalog.list()}


def as_text(workspace: Workspace, pipeline: Pipeline, outcome: Outcome) -> list[str]:
    """The summary, line by line."""
    served = f"{outcome.scored:,} predictions were served; {outcome.differing} had a feature that training would have seen otherwise."
    return [
        "",
        "What happened, in virtual time:",
        *(f"  {at:%Y-%m-%d}  {what}" for at, what in _events(workspace, pipeline, outcome)),
        *([] if outcome.detected else ["  no alert was raised, and nothing was retrained"]),
        "",
        "Models:",
        *_model_lines(models(workspace, pipeline)),
        "",
        served,
        "",
        "Tables:",
        *(f"  {name:<56} {rows:>9,} rows" for name, rows in tables(workspace).items()),
        *_next_steps(workspace),
    ]


def _events(workspace: Workspace, pipeline: Pipeline, outcome: Outcome) -> list[tuple[datetime, str]]:
    found = [
        (promotion.at, f"v{promotion.version} goes into production: {promotion.why}")
        for promotion in _to_production(workspace, pipeline)
    ]
    if outcome.began is not None:
        found.append((outcome.began, "customers change their behaviour"))
    if outcome.detected is not None:
        days = f", {(outcome.detected - outcome.began).days} days later" if outcome.began else ""
        found.append((outcome.detected, f"the monitor notices{days}: {outcome.reason}"))
    return sorted(found, key=lambda event: event[0])


def _model_lines(found: Sequence[Mapping[str, object]]) -> list[str]:
    lines = []
    for model in found:
        lines.append(
            f"  v{model['version']} ({model['candidate']}, {model['alias'] or 'no alias'})  {_metrics(model['metrics'])}"
        )
        if model["champion_metrics"]:
            lines.append(f"      the version before, on the same customers  {_metrics(model['champion_metrics'])}")
    return lines


def _metrics(values: object) -> str:
    return "  ".join(f"{name} {values[name]:.3f}" for name in _SHOWN) if isinstance(values, dict) else ""


def _next_steps(workspace: Workspace) -> list[str]:
    home, drift = f" --home {workspace.home}", "ml.monitoring.customer_churn_predictions_drift_summary"
    return [
        "",
        "Go on:",
        f"  millrace status{home}                      where the loop stands",
        f"  millrace up{home}                          endpoints and MLflow's UI on one port",
        f"  millrace table preview {drift} --column date --column status --column reason{home}",
        "  millrace init my_project                   a pipeline of your own",
    ]


def _to_production(workspace: Workspace, pipeline: Pipeline) -> list[Promotion]:
    return [p for p in workspace.promotions.read(ModelName(pipeline.model_name)) if p.alias == "production"]


def _aliases(workspace: Workspace, pipeline: Pipeline) -> dict[str, str]:
    now = in_production(workspace, pipeline)
    if now is None:
        return {}
    return {str(now.version): "production"} | ({str(now.replaced): "previous"} if now.replaced else {})


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
