from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from millrace.core.errors import InvalidInput
from millrace.serving.canary.types import CanaryLimits, CanarySettings
from millrace.serving.canary.verdict import Evidence, Measured, judge
from millrace.statistics.randomisation import Groups

CANARY = CanarySettings((10, 50, 100), min_requests=50)
NO_WAIT, DAY = timedelta(0), timedelta(days=1)


def evidence(
    seed: int,
    *,
    requests: int = 1200,
    callers: int = 400,
    share: float = 0.3,
    errors: float = 0.0,
    slower: float = 1.0,
    shift: float = 0.0,
    worse: float = 0.0,
    labelled: float = 0.5,
) -> Evidence:
    """Traffic of callers who are alike in themselves; what is not 0 or 1 is what the challenger is worse by."""
    rng = np.random.default_rng(seed)
    who, group = rng.integers(0, callers, requests), rng.random(callers) < share
    new = group[who]
    failed = rng.random(requests) < 0.02 + np.where(new, errors, 0.0)
    durations = rng.lognormal(1.5, 0.4, callers)[who] * rng.lognormal(0, 0.2, requests) * np.where(new, slower, 1.0)
    scores = np.clip(rng.beta(2, 5, callers)[who] + np.where(new, shift, 0.0), 0, 1)
    losses = rng.exponential(0.5, callers)[who] + np.where(new, worse, 0.0)
    came = rng.random(requests) < labelled
    return Evidence(
        _measured(failed.astype(float), who, new),
        _measured(durations[~failed], who[~failed], new[~failed]),
        _measured(scores, who, new),
        _measured(losses[came], who[came], new[came]),
    )


def _measured(values: np.ndarray, who: np.ndarray, new: np.ndarray) -> Measured:
    return Measured(values, Groups.of(who, new))


def test_a_challenger_that_is_no_different_goes_on() -> None:
    verdict = judge(evidence(1), CANARY, NO_WAIT, seed=1)
    assert (verdict.decision, verdict.reason) == ("go", "no signal speaks against it")
    assert [finding.signal for finding in verdict.findings] == ["errors", "latency", "predictions", "quality"]
    assert not any(finding.bad for finding in verdict.findings)


@pytest.mark.parametrize(
    ("signal", "planted"),
    [
        ("errors", {"errors": 0.1}),
        ("latency", {"slower": 3.0}),
        ("predictions", {"shift": 0.4}),
        ("quality", {"worse": 0.5}),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_a_bad_challenger_is_stopped_by_the_signal_that_it_is_bad_in(
    signal: str, planted: dict[str, Any], seed: int
) -> None:
    verdict = judge(evidence(seed, **planted), CANARY, NO_WAIT, seed=seed)
    assert verdict.decision == "stop"
    assert [finding.signal for finding in verdict.findings if finding.bad] == [signal]
    assert verdict.reason.startswith(f"{signal}: ")


def test_figures_are_those_of_plain_arithmetic() -> None:
    # 100 callers with one request each; every second is the challenger's.
    new = np.arange(100) % 2 == 1
    failed = np.where(new, np.arange(100) < 20, 0).astype(float)
    durations = np.where(new, 30.0, 10.0)
    scores = np.where(new, 0.75, 0.25)
    losses = np.where(new, 0.75, 0.5)
    measured = [_measured(values, np.arange(100), new) for values in (failed, durations, scores, losses)]
    found = judge(Evidence(measured[0], measured[1], measured[2], measured[3]), CANARY, NO_WAIT, seed=1).findings
    assert [(f.champion, f.challenger) for f in found] == [(0, 0.2), (10, 30), (0.25, 0.75), (0.5, 0.75)]
    assert [f.effect for f in found] == pytest.approx([0.2, 3.0, 1.0, 0.5])
    assert all(finding.bad for finding in found)
    assert found[0].reason.startswith("errors: 20.0% of its 50 requests failed, 0.0% of the champion's 50 ")


def test_what_is_within_the_limits_is_no_reason_however_sure_it_is() -> None:
    generous = CanarySettings(min_requests=50, limits=CanaryLimits(errors=0.2, latency=4, predictions=0.95, quality=2))
    found = judge(evidence(2, errors=0.1, slower=3, shift=0.4, worse=0.5), generous, NO_WAIT, seed=1)
    assert found.decision == "go"


def test_twice_as_long_but_by_less_than_a_millisecond_is_no_reason() -> None:
    new = np.arange(400) % 2 == 1
    durations = np.where(new, 0.4, 0.1)
    alike = _measured(np.zeros(400), np.arange(400), new)
    found = judge(Evidence(alike, _measured(durations, np.arange(400), new), alike, alike), CANARY, NO_WAIT, seed=1)
    assert (found.decision, found.findings[1].effect) == ("go", 4.0)


def test_a_verdict_on_a_sample_says_so() -> None:
    found = judge(replace(evidence(1), sampled=10_000), CANARY, NO_WAIT, seed=1)
    assert found.reason == "no signal speaks against it (by a sample of 10,000 of the newest requests of each)"


def test_a_sample_larger_than_is_read_can_not_be_asked_for() -> None:
    assert CanarySettings(min_requests=100_000).min_requests == 100_000
    with pytest.raises(InvalidInput, match="too large"):
        CanarySettings(min_requests=100_001)
    with pytest.raises(InvalidInput, match="too large"):
        CanarySettings(min_labels=100_001)


def test_too_small_a_sample_is_waited_for_and_then_the_declared_outcome_holds() -> None:
    small = evidence(1, requests=60, callers=60)
    first = judge(small, CANARY, CANARY.wait - timedelta(seconds=1), seed=1)
    assert (first.decision, first.findings) == ("wait", ())
    assert "the challenger has " in first.reason
    assert " of 50 requests" in first.reason
    late = judge(small, CANARY, CANARY.wait, seed=1)
    assert late.decision == "stop"
    assert "after a wait of 1 day" in late.reason
    hopeful = CanarySettings(min_requests=50, after_wait="go")
    assert judge(small, hopeful, hopeful.wait, seed=1).decision == "go"


def test_what_is_known_at_the_end_of_the_wait_counts_before_the_declared_outcome() -> None:
    hopeful = CanarySettings(min_requests=5000, after_wait="go")
    verdict = judge(evidence(1, errors=0.3), hopeful, hopeful.wait, seed=1)
    assert (verdict.decision, verdict.reason[:7]) == ("stop", "errors:")


def test_a_few_callers_with_many_requests_are_too_small_a_sample() -> None:
    verdict = judge(evidence(1, callers=8, errors=0.5), CANARY, NO_WAIT, seed=1)
    assert verdict.decision == "wait"
    assert "of 10 callers" in verdict.reason


def test_labels_are_waited_for_where_that_is_asked_for() -> None:
    few = evidence(1, labelled=0.01)
    assert judge(few, CANARY, NO_WAIT, seed=1).decision == "go"
    wanting = CanarySettings(min_requests=50, min_labels=40)
    verdict = judge(few, wanting, NO_WAIT, seed=1)
    assert verdict.decision == "wait"
    assert "of 40 labels" in verdict.reason
    assert judge(evidence(1), wanting, NO_WAIT, seed=1).decision == "go"


def test_a_signal_without_a_sample_is_not_judged_and_says_so() -> None:
    verdict = judge(evidence(1, labelled=0.0), CANARY, NO_WAIT, seed=1)
    assert verdict.decision == "go"
    assert verdict.findings[3].reason == "quality: not judged, 0 and 0 labels are too few"


def test_texts_are_compared_by_their_shares() -> None:
    new = np.arange(400) % 2 == 1
    alike = _measured(np.zeros(400), np.arange(400), new)
    same, all_no = (
        np.where(np.arange(400) % 4 < 2, "yes", "no"),
        np.where(new, "no", np.where(np.arange(400) % 4, "yes", "no")),
    )
    for labels, decision in ((same, "go"), (all_no, "stop")):
        rows = Evidence(alike, alike, _measured(labels, np.arange(400), new), alike)
        verdict = judge(rows, CANARY, NO_WAIT, seed=1)
        assert verdict.decision == decision
        assert verdict.findings[2].champion is None


@pytest.mark.slow
def test_false_stops_stay_within_what_was_declared() -> None:
    # No effect is small enough to be let pass, so that chance alone decides; two verdicts each, as for 10, 50, 100.
    limits = CanaryLimits(errors=0, latency=1, latency_ms=0, predictions=0, quality=0, false_stop=0.2)
    canary = CanarySettings((10, 50, 100), min_requests=20, limits=limits)
    runs = 200
    stopped = sum(
        any(
            judge(evidence(1000 * seed + step, requests=240, callers=120), canary, DAY, seed=seed).decision == "stop"
            for step in (0, 1)
        )
        for seed in range(runs)
    )
    # Binomial: three standard deviations over the declared 0.2.
    assert stopped / runs <= 0.2 + 3 * math.sqrt(0.2 * 0.8 / runs)
    assert stopped > 0
