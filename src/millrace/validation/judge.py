"""Ask all gates; write the verdict down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from millrace.statistics.metrics import measure
from millrace.validation.types import Evidence, Gate, Verdict


def judge(gates: Sequence[Gate], evidence: Evidence) -> Verdict:
    """Ask every gate, also after one said no, so that all reasons are known at once. No gates: passed.

    Raises:
        InvalidInput: the evidence can't be measured: no rows, labels other than 0 and 1, scores that are no probabilities.
    """
    metrics = measure(evidence.labels, evidence.challenger)
    results = tuple(gate.check(evidence) for gate in gates)
    return Verdict(all(result.passed for result in results), results, metrics)


def as_json(verdict: Verdict) -> dict[str, object]:
    """The verdict as JSON-compatible values, for the promotion log and a run's artifacts; what is not finite is None."""
    return {
        "passed": verdict.passed,
        "metrics": finite(verdict.metrics),
        "gates": [
            {"gate": each.gate, "passed": each.passed, "reason": each.reason, "figures": finite(each.figures)}
            for each in verdict.results
        ],
    }


def finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Figures as JSON has them: what is not finite is None."""
    return {name: float(value) if math.isfinite(value) else None for name, value in figures.items()}
