"""Each planted fault is refused by the gate that should, for its reason; an honest model passes all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from millrace.core.errors import InvalidInput
from millrace.validation.calibrated import Calibrated
from millrace.validation.comparisons import BeatsBaselines, NoWorseThanChampion
from millrace.validation.defaults import DEFAULTS, offline
from millrace.validation.judge import judge
from millrace.validation.no_leakage import NoLeakage
from millrace.validation.served import FastEnough, NoServingSkew
from millrace.validation.types import Evidence, Gate, Served, TrainingFacts
from millrace.validation.worst_slice import WorstSlice
from tests.unit.validation.models import TRAINED, World, moved, noisy, world

SEEDS = range(15)


@pytest.fixture(scope="module")
def honest() -> World:
    return world(0)


def refused(gate: Gate, evidence: Evidence) -> str:
    result = gate.check(evidence)
    assert not result.passed, result.reason
    return result.reason


def facts(evidence: Evidence) -> TrainingFacts:
    assert evidence.training is not None
    return evidence.training


def test_an_honest_model_passes_all_default_gates_whatever_the_seed() -> None:
    # Each comparison that asks for "surely" errs in 2.5 % of cases at most, and an honest model is seldom at the edge.
    answers = [judge(offline(DEFAULTS), world(seed).evidence) for seed in SEEDS]
    assert sum(not verdict.passed for verdict in answers) <= 1, [verdict.reasons for verdict in answers]


def test_a_leaky_feature(honest: World) -> None:
    known, rng = facts(honest.evidence), np.random.default_rng(1)
    told = {"refund": known.labels + rng.normal(0, 0.1, TRAINED), **known.columns}
    held = {"refund": honest.evidence.labels + rng.normal(0, 0.1, len(honest.truth)), **honest.evidence.columns}
    leaky = replace(honest.evidence, columns=held, training=replace(known, columns=told))
    assert re.match(
        r"refund alone tells the label: its ROC AUC is (1\.0|0\.99)\d+, at least", refused(NoLeakage(), leaky)
    )
    assert NoLeakage(allow="refund").check(leaky).passed


def missing_where_true(labels: np.ndarray) -> np.ndarray:
    return np.array([np.nan if label else 3.0 for label in labels])


def text_where_true(labels: np.ndarray) -> np.ndarray:
    return np.array(["closed" if label else None for label in labels], dtype=object)


def in_the_middle_where_true(labels: np.ndarray) -> np.ndarray:
    return np.array([5.0 if label else float(place % 2) * 10 for place, label in enumerate(labels)])


@pytest.mark.parametrize("leak", [missing_where_true, text_where_true, in_the_middle_where_true])
def test_a_feature_leaks_in_many_ways(honest: World, leak: Callable[[np.ndarray], np.ndarray]) -> None:
    known = facts(honest.evidence)
    leaky = replace(
        honest.evidence,
        columns={"leak": leak(honest.evidence.labels)},
        training=replace(known, columns={"leak": leak(known.labels)}),
    )
    assert "leak alone tells the label" in refused(NoLeakage(), leaky)


def test_a_feature_that_is_all_of_the_model(honest: World) -> None:
    known, rng = facts(honest.evidence), np.random.default_rng(3)
    told = {**known.columns, "status": known.labels + rng.normal(0, 0.33, TRAINED)}
    held = {**honest.evidence.columns, "status": honest.evidence.labels + rng.normal(0, 0.33, len(honest.truth))}
    shares = {"status": 0.97, "spend": 0.03}
    leaky = replace(honest.evidence, columns=held, training=replace(known, columns=told, importances=lambda: shares))
    assert refused(NoLeakage(), leaky).startswith("status is 97% of what the model relies on")
    even = replace(known, columns=told, importances=lambda: {"status": 0.6, "spend": 0.4})
    assert NoLeakage().check(replace(leaky, training=even)).passed


def test_a_feature_from_after_the_rows_time(honest: World) -> None:
    late = replace(facts(honest.evidence), late={"ml.features.spend": 1200, "ml.features.plan": 0})
    reason = refused(NoLeakage(), replace(honest.evidence, training=late))
    assert reason == "ml.features.spend was looked up as it was after the row's time, for 1,200 of 2,000 training rows"


def test_trained_on_its_own_holdout(honest: World) -> None:
    shared = replace(facts(honest.evidence), shared_rows=700)
    reason = refused(NoLeakage(), replace(honest.evidence, training=shared))
    assert reason.startswith("700 rows of the holdout were trained on, by key and time")


def test_a_broken_slice(honest: World) -> None:
    south = honest.evidence.columns["region"] == "south"
    broken = np.where(south, 1 - honest.evidence.challenger, honest.evidence.challenger)
    found = replace(honest.evidence, challenger=broken)
    reason = refused(WorstSlice(), found)
    assert re.match(r"worst of \d+ slices: region = 'south' \(\d+ rows\), log_loss surely worse than", reason)
    area = refused(WorstSlice(columns="region", metric="roc_auc", at_least=0.6), found)
    assert area.startswith("worst of 4 slices: region = 'south'")
    assert "not surely at least 0.6" in area
    assert WorstSlice(columns="region", metric="roc_auc", at_least=0.6).check(honest.evidence).passed
    assert WorstSlice(columns=["plan"], min_rows=600).check(found).reason == "no slice has 600 rows"


def test_a_range_of_a_number_can_be_broken_too(honest: World) -> None:
    spend = honest.evidence.columns["spend"]
    wrong = np.where(spend > 55, 1 - honest.evidence.challenger, honest.evidence.challenger)
    assert ": spend from " in refused(WorstSlice(), replace(honest.evidence, challenger=wrong))


def test_a_column_that_is_not_there_is_an_error(honest: World) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'region'"):
        WorstSlice(columns=["regoin"]).check(honest.evidence)


@pytest.mark.parametrize("metric", ["accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier"])
def test_slices_have_every_metric(honest: World, metric: str) -> None:
    higher = metric not in {"log_loss", "brier"}
    lax = WorstSlice(metric=metric, at_least=0.0) if higher else WorstSlice(metric=metric, at_most=5.0)
    strict = WorstSlice(metric=metric, at_least=1.0) if higher else WorstSlice(metric=metric, at_most=0.0)
    assert lax.check(honest.evidence).passed
    assert metric in refused(strict, honest.evidence)


def test_miscalibrated(honest: World) -> None:
    sharpened = moved(honest.evidence.challenger, lambda odds: 4 * odds + 1)
    reason = refused(Calibrated(), replace(honest.evidence, challenger=sharpened))
    assert "off what came true on average" in reason
    assert reason.endswith("surely above 0.1")
    few = replace(
        honest.evidence, labels=honest.evidence.labels[:50], challenger=sharpened[:50], groups=None, columns={}
    )
    assert "too few to tell" in Calibrated().check(few).reason


def test_the_calibration_error_of_a_calibrated_model_is_not_held_against_it() -> None:
    rng, refusals = np.random.default_rng(5), 0
    for _ in range(40):
        truth = rng.uniform(0.05, 0.95, 300)
        labels = (rng.random(300) < truth).astype(np.int64)
        refusals += not Calibrated(max_error=0.05).check(Evidence(labels, truth, {})).passed
    assert refusals <= 1


def test_worse_than_a_linear_model(honest: World) -> None:
    rng = np.random.default_rng(6)
    poor = replace(honest.evidence, challenger=noisy(honest.truth, 1.0, rng))
    reason = refused(BeatsBaselines(), poor)
    assert "better than dummy's" in reason
    assert "worse than a linear model's" in reason
    assert BeatsBaselines(linear=False).check(poor).passed


def test_a_model_that_only_may_be_worse_than_a_linear_one_passes(honest: World) -> None:
    ours, theirs = honest.evidence.challenger, noisy(honest.truth, 0.25, np.random.default_rng(8))
    for one, other in ((ours, theirs), (theirs, ours)):
        assert BeatsBaselines().check(replace(honest.evidence, challenger=one, linear=other)).passed


def test_surely_worse_than_the_champion(honest: World) -> None:
    newest = honest.evidence.newest
    assert newest is not None
    poor = replace(newest, challenger=noisy(honest.truth, 1.5, np.random.default_rng(7)))
    assert "worse than churn v3's" in refused(NoWorseThanChampion(), poor)
    same = replace(newest, champion=newest.challenger)
    assert NoWorseThanChampion().check(same).passed
    assert NoWorseThanChampion().check(replace(newest, champion=None)).reason == "nothing is in production yet"


def test_slow() -> None:
    slow = FastEnough(p99_ms=50).check_served(Served(20, 0, 0.0, "", (80.0,) * 10, 1000))
    assert not slow.passed
    assert slow.reason.startswith("p99 80.0 ms of 10 requests (half within 80.0 ms), 10 of them over 50 ms: surely")
    hiccups = Served(20, 0, 0.0, "", (3.0,) * 98 + (400.0,) * 2, 1000)
    assert FastEnough(p99_ms=50).check_served(hiccups).passed
    big = FastEnough(size_mb=10).check_served(Served(20, 0, 0.0, "", (3.0,) * 100, 30_000_000))
    assert (big.passed, big.reason.endswith("model files of 30.0 MB, more than 10 MB")) == (False, True)
    assert FastEnough(p99_ms=None, size_mb=None).check_served(Served(20, 0, 0.0)).passed


def test_answers_that_differ_from_offline() -> None:
    result = NoServingSkew().check_served(Served(20, 3, 0.2, "{'customer_id': 7} gave 0.4, not 0.2"))
    assert not result.passed
    assert result.reason == "3 of 20 answers differ from offline: {'customer_id': 7} gave 0.4, not 0.2"


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: WorstSlice(metric="roc_auc"), "one limit"),
        (lambda: WorstSlice(at_least=0.5), "needs a metric"),
        (lambda: WorstSlice(metric="log_loss", at_least=0.5), "use at_most=0.5"),
        (lambda: WorstSlice(metric="auc", at_least=0.5), "is not a metric"),
        (lambda: WorstSlice(min_rows=1), "min_rows"),
        (lambda: Calibrated(max_error=10), "max_error can't be 10"),
        (lambda: NoLeakage(perfect=0.3), "perfect can't be 0.3"),
        (lambda: FastEnough(p99_ms=0), "p99_ms can't be 0"),
        (lambda: FastEnough(requests=3), "3 requests say nothing"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused_when_it_is_written(make: object, fact: str) -> None:
    assert callable(make)
    with pytest.raises(InvalidInput, match=fact):
        make()


def test_rows_of_one_customer_are_not_many_witnesses(honest: World) -> None:
    """Four weeks of 500 customers say about as much as 500 rows: intervals are as wide as theirs."""
    alone = replace(honest.evidence, groups=None)
    widths = [
        (one := BeatsBaselines().check(each)).figures["gain_over_dummy_high"] - one.figures["gain_over_dummy_low"]
        for each in (alone, honest.evidence)
    ]
    assert 1.5 < widths[1] / widths[0] < 2.5
