"""Which candidate is best, and does it pass the gates?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millrace.pipeline import training_parts
from millrace.pipeline.attempts import VALIDATE, trigger_in
from millrace.pipeline.champion import Champion, champion_on
from millrace.pipeline.context import RunContext
from millrace.pipeline.evidence import evidence_of
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.fitted import contest, newest_labels, run_of
from millrace.pipeline.stages.stage import Outcome
from millrace.pipeline.verdicts import keep_report, report_of
from millrace.statistics.metrics import measure
from millrace.validation.defaults import in_force, offline
from millrace.validation.judge import as_json, judge
from millrace.validation.types import AnyGate, Verdict


@dataclass(frozen=True, slots=True)
class Validate:
    """Choose the best candidate on the holdout and put it before the gates."""

    group: str

    @property
    def name(self) -> str:
        """`validate`."""
        return VALIDATE

    @property
    def fingerprint(self) -> str:
        """The training that it belongs to."""
        return fingerprint(self.name, self.group)

    def run(self, context: RunContext) -> Outcome:
        """Judge, and keep a report with the winner's run; a refusal is a result."""
        parts, held = training_parts.of_run(context), contest(context)
        champion = champion_on(context, parts)
        evidence = evidence_of(context, held, champion)
        verdict = judge(offline(gates_of(context)), evidence)
        run, _ = run_of(context, held.winner)
        kept = keep_report(context, run, report_of(context, held, evidence, verdict))
        context.services.tracking.log(run, tags={"millrace.verdict": "passed" if verdict.passed else "refused"})
        champion_metrics = measure(newest_labels(parts), champion.scores) if champion else None
        output = _output(held.winner, verdict, held.metrics, champion, champion_metrics)
        return _outcome(held.winner, verdict, {**output, "report": kept, "run_id": str(run)})


def gates_of(context: RunContext) -> tuple[AnyGate, ...]:
    """The gates of this run: a retraining that the policy began has to beat the champion."""
    pipeline = context.pipeline
    unattended = trigger_in(context.outputs[training_parts.STAGE]) is not None
    return in_force(pipeline.gates, pipeline.skip_gates, unattended=unattended)


def verdict_of(context: RunContext) -> Mapping[str, object]:
    """What `validate` said in this run."""
    return context.outputs[VALIDATE]


def winner_of(context: RunContext) -> str:
    """The candidate that goes on: what `validate` said, or would say where a version is registered before it is judged."""
    return str(verdict_of(context)["winner"]) if VALIDATE in context.outputs else contest(context).winner


def _outcome(winner: str, verdict: Verdict, output: Mapping[str, object]) -> Outcome:
    if verdict.passed:
        return Outcome(f"{winner} is best and passes {len(verdict.results)} gates", output)
    return Outcome(f"{winner} is best, but: " + "; ".join(verdict.reasons), output, "refused")


def _output(
    winner: str,
    verdict: Verdict,
    metrics: Mapping[str, Mapping[str, float]],
    champion: Champion | None,
    champion_metrics: Mapping[str, float] | None,
) -> dict[str, object]:
    return {
        "winner": winner,
        "passed": verdict.passed,
        "results": as_json(verdict)["gates"],
        "metrics": {name: dict(values) for name, values in metrics.items()},
        "champion": str(champion.version.version) if champion else None,
        "champion_metrics": dict(champion_metrics) if champion_metrics else None,
        "champion_has_seen_holdout": champion.has_seen_holdout if champion else False,
    }
