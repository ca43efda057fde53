"""Which candidate is best, and does it pass the gates?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import cast

from millrace.pipeline import training_parts
from millrace.pipeline.champion import Champion, champion_on
from millrace.pipeline.context import RunContext
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.fitted import fitted_model, holdout_labels, holdout_scores, run_of
from millrace.pipeline.stages.stage import Outcome
from millrace.statistics.metrics import measure
from millrace.validation.choose import choose
from millrace.validation.judge import judge
from millrace.validation.types import Evidence, Verdict

STAGE = "validate"


@dataclass(frozen=True, slots=True)
class Validate:
    """Choose the best candidate on the holdout and put it before the gates."""

    group: str

    @property
    def name(self) -> str:
        """`validate`."""
        return STAGE

    @property
    def fingerprint(self) -> str:
        """The training that it belongs to."""
        return fingerprint(self.name, self.group)

    def run(self, context: RunContext) -> Outcome:
        """Judge; a refusal is a result."""
        pipeline, parts = context.pipeline, training_parts.of_run(context)
        scores = {candidate.name: holdout_scores(context, candidate) for candidate in pipeline.candidates}
        labels = holdout_labels(parts)
        metrics = {name: measure(labels, values) for name, values in scores.items()}
        winner = choose(
            [fitted_model(context, candidate) for candidate in pipeline.candidates], metrics, pipeline.choose_by
        )
        champion = champion_on(context, parts)
        baselines = {c.name: scores[c.name] for c in pipeline.candidates if c.is_baseline}
        evidence = Evidence(
            labels=labels,
            challenger=scores[winner],
            baselines=baselines,
            champion=champion.scores if champion else None,
            champion_name=champion.label if champion else "",
            seed=pipeline.seed,
        )
        verdict = judge(pipeline.gates, evidence)
        output = _output(winner, verdict, metrics, champion, measure(labels, champion.scores) if champion else None)
        run, _ = run_of(context, winner)
        context.services.tracking.log(run, tags={"millrace.verdict": "passed" if verdict.passed else "refused"})
        return _outcome(winner, verdict, output)


def verdict_of(context: RunContext) -> Mapping[str, object]:
    """What `validate` said in this run."""
    return context.outputs[STAGE]


def winner_of(context: RunContext) -> str:
    """The candidate that goes on."""
    return str(verdict_of(context)["winner"])


def reasons(output: Mapping[str, object]) -> list[str]:
    """Why a kept verdict refused; empty where it passed."""
    results = cast("list[Mapping[str, object]]", output["results"])
    return [str(result["reason"]) for result in results if not result["passed"]]


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
