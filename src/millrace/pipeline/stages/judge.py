"""Which candidate is best, and does it pass the gates?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from millrace.pipeline import training_parts
from millrace.pipeline.attempts import VALIDATE, trigger_in
from millrace.pipeline.champion import Champion, champion_on
from millrace.pipeline.context import RunContext
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.fitted import contest, newest_labels, newest_scores, run_of
from millrace.pipeline.stages.stage import Outcome
from millrace.statistics.metrics import measure
from millrace.validation.gates import retraining_gates
from millrace.validation.judge import judge
from millrace.validation.types import Evidence, Verdict


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
        """Judge; a refusal is a result."""
        pipeline, parts = context.pipeline, training_parts.of_run(context)
        held = contest(context)
        winner = held.winner
        champion = champion_on(context, parts)
        baselines = {c.name: held.scores[c.name] for c in pipeline.candidates if c.is_baseline}
        evidence = Evidence(
            held.labels, held.scores[winner], baselines, seed=pipeline.seed, newest=_newest(context, winner, champion)
        )
        is_retraining = trigger_in(context.outputs[training_parts.STAGE]) is not None
        verdict = judge(retraining_gates(pipeline.gates) if is_retraining else pipeline.gates, evidence)
        champion_metrics = measure(newest_labels(parts), champion.scores) if champion else None
        output = _output(winner, verdict, held.metrics, champion, champion_metrics)
        run, _ = run_of(context, winner)
        context.services.tracking.log(run, tags={"millrace.verdict": "passed" if verdict.passed else "refused"})
        return _outcome(winner, verdict, output)


def _newest(context: RunContext, winner: str, champion: Champion | None) -> Evidence:
    """Challenger and champion on the newest labelled rows."""
    import pyarrow.compute as pc

    parts, pipeline = training_parts.of_run(context), context.pipeline
    times = parts.newest.table.column(pipeline.labels.time)
    return Evidence(
        labels=newest_labels(parts),
        challenger=newest_scores(context, pipeline.candidate(winner)),
        baselines={},
        champion=champion.scores if champion else None,
        champion_name=champion.label if champion else "",
        seed=pipeline.seed,
        champion_has_seen=champion.has_seen_holdout if champion else False,
        window=f"{pc.min(times).as_py():%Y-%m-%d} to {pc.max(times).as_py():%Y-%m-%d}",
    )


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
        "results": [asdict(result) for result in verdict.results],
        "metrics": {name: dict(values) for name, values in metrics.items()},
        "champion": str(champion.version.version) if champion else None,
        "champion_metrics": dict(champion_metrics) if champion_metrics else None,
        "champion_has_seen_holdout": champion.has_seen_holdout if champion else False,
    }
