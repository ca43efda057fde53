"""Gates: what they decide, and that their reasons hold the figures."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from millrace.core.errors import InvalidInput
from millrace.validation.calibrated import Calibrated
from millrace.validation.comparisons import BeatsBaselines, BeatsChampion
from millrace.validation.defaults import DEFAULTS, check_skipped, in_force
from millrace.validation.judge import as_json, judge
from millrace.validation.thresholds import AtLeast, AtMost
from millrace.validation.types import Evidence, Gate

RNG = np.random.default_rng(7)
TRUTH = RNG.uniform(0.02, 0.98, 1500)
LABELS = (RNG.random(1500) < TRUTH).astype(int)
BLURRED = np.clip(TRUTH + RNG.normal(0, 0.35, 1500), 0.02, 0.98)
PRIOR = np.full(1500, LABELS.mean())


def evidence(challenger: np.ndarray = TRUTH, champion: np.ndarray | None = None) -> Evidence:
    return Evidence(LABELS, challenger, {"dummy": PRIOR}, champion, "churn v3", seed=1)


def test_equal_to_the_threshold_is_enough() -> None:
    half_right = Evidence(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]), {})
    assert AtLeast(accuracy=0.75).check(half_right).passed
    refused = AtLeast(accuracy=0.7500001).check(half_right)
    assert not refused.passed
    assert refused.reason == "accuracy 0.7500 is below 0.7500001 (95 % interval 0.2500 to 1.0000)"
    assert refused.figures == {"accuracy": 0.75, "accuracy_low": 0.25, "accuracy_high": 1.0}


def test_every_missed_threshold_is_named() -> None:
    result = AtLeast(accuracy=0.99, f1=0.1, roc_auc=0.99).check(evidence())
    assert not result.passed
    between = r" \(95 % interval 0\.\d{4} to 0\.\d{4}\)"
    assert re.fullmatch(
        rf"accuracy 0\.7\d+ is below 0.99{between}; roc_auc 0\.8\d+ is below 0.99{between}", result.reason
    )


def test_at_most() -> None:
    assert AtMost(log_loss=0.6).check(evidence()).passed
    assert "is above 0.3" in AtMost(log_loss=0.3).check(evidence()).reason


def test_an_undefined_metric_passes_no_gate() -> None:
    one_class = Evidence(np.array([1, 1]), np.array([0.9, 0.8]), {"dummy": np.array([1.0, 1.0])}, np.array([0.1, 0.2]))
    for gate in (AtLeast(roc_auc=0.0), BeatsBaselines("roc_auc"), BeatsChampion("roc_auc", significant=False)):
        result = gate.check(one_class)
        assert not result.passed
        assert "not defined on this holdout" in result.reason


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (AtLeast, "no threshold"),
        (lambda: AtLeast(acuracy=0.5), "did you mean 'accuracy'"),
        (lambda: AtLeast(log_loss=0.5), r"use AtMost\(log_loss=0.5\)"),
        (lambda: AtMost(f1=0.5), r"use AtLeast\(f1=0.5\)"),
        (lambda: AtLeast(accuracy=80), "can't be 80"),
        (lambda: AtMost(log_loss=math.nan), "can't be nan"),
        (lambda: BeatsBaselines("logloss"), "did you mean 'log_loss'"),
        (lambda: BeatsChampion("auc"), "is not a metric"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused_when_it_is_written(make: object, fact: str) -> None:
    assert callable(make)
    with pytest.raises(InvalidInput, match=fact):
        make()


def test_gates_are_values() -> None:
    assert AtLeast(f1=0.5) == AtLeast(f1=0.5) != AtLeast(f1=0.6)
    assert len({BeatsChampion(), BeatsChampion()}) == 1
    assert repr(AtLeast(f1=0.5)) == "AtLeast(thresholds=(('f1', 0.5),), significant=False)"


def test_baselines() -> None:
    won = BeatsBaselines().check(evidence())
    assert won.passed
    assert re.fullmatch(
        r"log_loss 0\.\d{4} is better than dummy's 0\.69\d\d \(by \+0\.\d{4}, 95 % interval \+0\.\d{4} to \+0\.\d{4}\)",
        won.reason,
    )
    tie = BeatsBaselines().check(evidence(PRIOR))
    assert not tie.passed
    assert "as good as" in tie.reason
    assert BeatsBaselines().check(Evidence(LABELS, TRUTH, {})).passed


def test_one_baseline_that_is_better_is_enough_to_refuse() -> None:
    result = BeatsBaselines().check(Evidence(LABELS, BLURRED, {"dummy": np.full(1500, 0.01), "truth": TRUTH}))
    assert not result.passed
    assert "worse than truth's" in result.reason


def test_champion() -> None:
    first = BeatsChampion().check(evidence())
    assert (first.passed, first.reason) == (True, "nothing is in production yet")
    won = BeatsChampion().check(evidence(champion=BLURRED))
    assert won.passed
    assert "better than churn v3's" in won.reason
    assert won.figures["gain_low"] > 0
    lost = BeatsChampion().check(evidence(BLURRED, champion=TRUTH))
    assert not lost.passed
    assert "worse than" in lost.reason


def test_a_gain_that_may_be_chance_passes_only_where_that_is_allowed() -> None:
    hair_better = np.clip(TRUTH + 1e-4 * (LABELS - 0.5) * (np.arange(1500) % 2), 0, 1)
    noisy = np.clip(TRUTH + RNG.normal(0, 0.01, 1500), 0.01, 0.99)
    case = next(
        each
        for each in (evidence(hair_better, champion=noisy), evidence(noisy, champion=hair_better))
        if BeatsChampion(significant=False).check(each).passed
    )
    result = BeatsChampion().check(case)
    assert not result.passed
    assert result.reason.endswith("that may be chance")


def test_the_champion_must_be_beaten_by_the_margin() -> None:
    case = evidence(champion=BLURRED)
    low = BeatsChampion().check(case).figures["gain_low"]
    enough, too_much = BeatsChampion(margin=low * 0.999), BeatsChampion(margin=low * 1.001)
    assert enough.check(case).passed
    refused = too_much.check(case)
    assert not refused.passed
    assert refused.reason.endswith("that may be chance")
    assert f"the margin is +{low * 1.001:g}" in refused.reason
    # As good as the champion, and allowed to be a little worse.
    assert not BeatsChampion().check(evidence(champion=TRUTH)).passed
    assert BeatsChampion(margin=-0.01).check(evidence(champion=TRUTH)).passed
    with pytest.raises(InvalidInput, match="margin can't be nan"):
        BeatsChampion(margin=math.nan)


def test_the_champion_is_judged_on_the_newest_rows_where_the_holdout_is_older() -> None:
    newest = Evidence(
        LABELS[:500], BLURRED[:500], {}, TRUTH[:500], "churn v3", champion_has_seen=True, window="May 2025"
    )
    case = replace(evidence(champion=BLURRED), newest=newest)
    result = BeatsChampion().check(case)
    assert not result.passed
    assert result.reason.endswith("on 500 rows of May 2025, on some of which that was trained")
    assert result.figures["rows"] == 500
    assert BeatsBaselines().check(case).passed  # all else is measured on the holdout


def test_a_retraining_has_to_beat_the_champion_also_where_no_gate_says_so() -> None:
    assert in_force([BeatsBaselines()], ["all"], unattended=True) == (BeatsBaselines(), BeatsChampion())
    own = BeatsChampion("roc_auc", significant=False)
    assert in_force([own], ["all"], unattended=True) == (own,)


def test_default_gates_are_there_unless_one_of_their_name_is_named_or_they_are_skipped() -> None:
    assert in_force([]) == DEFAULTS
    strict = Calibrated(max_error=0.02)
    found = in_force([strict], ["fast_enough"])
    assert found[0] == strict
    assert [gate.name for gate in found] == [
        "calibrated",
        "no_leakage",
        "beats_baselines",
        "no_worse_than_champion",
        "worst_slice",
        "no_serving_skew",
    ]
    names = [gate.name for gate in in_force([BeatsChampion()])]
    assert "no_worse_than_champion" not in names  # it asks for less
    with pytest.raises(InvalidInput, match="did you mean 'worst_slice'"):
        check_skipped(["worst_slices"])


def test_equal_models_seldom_beat_each_other() -> None:
    # Two copies with noise of the same size: chance is on one side of the interval in about 2.5 % of cases, 1 in 40.
    rng, won = np.random.default_rng(1000), 0
    for _ in range(40):
        ours, theirs = (np.clip(TRUTH + rng.normal(0, 0.05, 1500), 0.01, 0.99) for _ in range(2))
        won += BeatsChampion().check(Evidence(LABELS, ours, {}, theirs)).passed
    assert won <= 4


def test_the_verdict_asks_every_gate_and_survives_json() -> None:
    verdict = judge([AtLeast(accuracy=0.99), AtMost(log_loss=0.01), BeatsBaselines()], evidence())
    assert not verdict.passed
    assert [result.passed for result in verdict.results] == [False, False, True]
    assert len(verdict.reasons) == 2
    kept = as_json(verdict)
    assert kept["passed"] is False
    assert list(verdict.metrics) == ["accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier"]
    assert judge([], evidence()).passed


def test_what_is_not_finite_is_null_in_json() -> None:
    verdict = judge([AtLeast(roc_auc=0.5)], Evidence(np.array([1, 1]), np.array([0.5, 0.9]), {}))
    kept = as_json(verdict)
    assert isinstance(kept["metrics"], dict)
    assert kept["metrics"]["roc_auc"] is None


def test_the_same_evidence_gives_the_same_verdict() -> None:
    gates: list[Gate] = [BeatsBaselines(), BeatsChampion()]
    assert judge(gates, evidence(champion=BLURRED)) == judge(gates, evidence(champion=BLURRED))
