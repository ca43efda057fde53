"""The performance judge on streams whose truth is known."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.monitoring.reference.answers import AnswerLayout, Answers
from millrace.monitoring.reference.answers_profile import AnswersProfile, beyond_chance
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers
from millrace.monitoring.types import WindowVerdict
from millrace.monitoring.verdicts.performance import judge_performance
from millrace.statistics.intervals import mean
from tests.unit.monitoring.verdicts.answer_streams import (
    MILD,
    SAME,
    SPEC,
    World,
    counted,
    reference,
    stream,
    window,
)

PROFILE = reference()


def statuses(*windows: Any, profile: AnswersProfile = PROFILE) -> list[str]:
    return [verdict.status for verdict in judge_performance(SPEC, "1", windows, profile)]


def first_degraded(a_day: int, seed: int) -> int:
    """Days from a change of the AUC from 0.85 to 0.79 to the verdict, after 28 good days."""
    windows = stream(PROFILE, seed=seed, a_day=a_day, days=[SAME] * 28 + [World(MILD)] * 20)
    found = statuses(*windows)
    assert "degraded" not in found[:28]
    return found[28:].index("degraded") if "degraded" in found else 99


def test_a_lost_tenth_of_the_area_is_seen_on_its_day_at_a_thousand_rows_and_in_a_week_at_a_hundred() -> None:
    assert max(first_degraded(1000, seed) for seed in range(5)) <= 1
    assert np.median([first_degraded(100, seed) for seed in range(9)]) <= 7


def test_a_good_model_is_left_alone() -> None:
    days = 0
    for seed in range(3):
        found = statuses(*stream(PROFILE, seed=100 + seed, a_day=150, days=[SAME] * 120))
        days += found.count("degraded")
    assert days == 0  # the budget is 0.3 a year


def test_the_verdict_has_both_figures_with_intervals_in_words_and_numbers() -> None:
    (verdict,) = judge_performance(SPEC, "7", stream(PROFILE, seed=1, a_day=4000, days=[World(0.5)]), PROFILE)
    figures = verdict.figures
    assert (verdict.kind, verdict.status, verdict.model_version) == ("performance", "degraded", "7")
    assert figures["loss_low"] < figures["loss"] < figures["loss_high"]
    assert figures["roc_auc_high"] < figures["reference_roc_auc"]
    assert verdict.score == pytest.approx(figures["loss"] / figures["reference_loss"] - 1)
    assert f"log-loss {figures['loss']:.3f} [{figures['loss_low']:.3f}, {figures['loss_high']:.3f}]" in verdict.reason
    assert "over 1 day (4,000 labels)" in verdict.reason
    assert "ROC AUC" in verdict.reason
    assert (figures["labelled"], figures["coverage"]) == (4000.0, 1.0)


def test_a_better_model_is_fine() -> None:
    (verdict,) = judge_performance(SPEC, "1", stream(PROFILE, seed=2, a_day=5000, days=[World(1.5)]), PROFILE)
    assert verdict.status == "ok"
    assert verdict.score is not None
    assert verdict.score < 0


def test_a_sure_but_small_change_is_no_degradation() -> None:
    (now,) = stream(PROFILE, seed=3, a_day=400_000, days=[World(0.97)])
    (verdict,) = judge_performance(SPEC, "1", [now], reference(400_000))
    assert verdict.figures["loss_low"] > verdict.figures["reference_loss"]
    assert verdict.status == "ok"


def waiting(seed: int, labelled: Any) -> Any:
    """A day of 1,000 rows of a good model, with the labels where `labelled(scores, labels, rng)` says so."""
    rng = np.random.default_rng(seed)
    scores, labels = SAME.draw(rng, 1000)
    known = np.where(labelled(scores, labels, rng), labels, np.nan)
    (found,) = counted(PROFILE, scores, known, np.zeros(1000))
    return found.answers


def at_random(share: float) -> Any:
    return lambda scores, _, rng: rng.random(len(scores)) < share


def positives_first(_: Any, labels: Any, rng: Any) -> Any:
    return rng.random(len(labels)) < np.where(labels == 1, 0.99, 0.3)


def test_labels_that_have_not_come_are_no_judgement() -> None:
    days = [waiting(0, at_random(1.0)), waiting(1, at_random(0.3)), waiting(2, at_random(0.0))]
    verdicts = judge_performance(SPEC, "1", [window(at, day) for at, day in enumerate(days)], PROFILE)
    assert [verdict.status for verdict in verdicts] == ["ok", "insufficient_data", "insufficient_data"]
    assert "of 1,000 rows have labels (" in verdicts[1].reason
    assert "%), 50% are needed" in verdicts[1].reason
    assert verdicts[2].reason == "none of 1,000 rows has a label yet"


def test_early_labels_that_are_unlike_the_rest_wait_for_them() -> None:
    whole, early = waiting(0, at_random(1.0)), waiting(1, positives_first)
    verdicts = judge_performance(SPEC, "1", [window(0, whole), window(1, early)], PROFILE)
    assert [verdict.status for verdict in verdicts] == ["ok", "insufficient_data"]
    assert "early labels are not like all" in verdicts[1].reason
    # Judged alone, by what had come, the good model would have looked bad.
    assert statuses(window(1, early)) == ["degraded"]
    assert statuses(window(0, whole), window(1, waiting(1, at_random(0.6)))) == ["ok", "ok"]


def test_one_row_a_day_waits_until_there_are_thirty() -> None:
    found = statuses(*stream(PROFILE, seed=4, a_day=1, days=[SAME] * 40))
    assert found == ["insufficient_data"] * 40  # 28 days never hold 30 labels
    found = statuses(*stream(PROFILE, seed=4, a_day=2, days=[SAME] * 40))
    assert found == ["insufficient_data"] * 14 + ["ok"] * 26


def test_days_without_rows_are_gaps_not_days_without_labels() -> None:
    windows = stream(PROFILE, seed=5, a_day=20, days=[World(0.0)] * 4)
    apart = [window(at * 10, one.answers) for at, one in enumerate(windows) if one.answers]
    verdicts = judge_performance(SPEC, "1", apart, PROFILE)
    assert [verdict.figures.get("rows") for verdict in verdicts] == [None, 40.0, 60.0, 60.0]


def test_labels_of_one_class_are_judged_by_the_loss_alone() -> None:
    scores = np.full(200, 0.9)
    (verdict,) = judge_performance(SPEC, "1", counted(PROFILE, scores, np.zeros(200), np.zeros(200)), PROFILE)
    assert verdict.status == "degraded"
    assert "ROC AUC" not in verdict.reason
    assert "roc_auc" not in verdict.figures
    assert statuses(*counted(PROFILE, scores, np.ones(200), np.zeros(200))) == ["ok"]


def test_scores_that_are_missing_or_certain_do_no_harm() -> None:
    odd = np.r_[np.full(50, np.nan), np.zeros(50), np.ones(50)]
    labels = np.r_[np.ones(50), np.zeros(50), np.ones(50)]
    (verdict,) = judge_performance(SPEC, "1", counted(PROFILE, odd, labels, np.zeros(150)), PROFILE)
    assert verdict.status == "ok"
    assert verdict.figures["rows"] == 100
    nothing = counted(PROFILE, np.full(50, np.nan), np.ones(50), np.zeros(50))
    assert statuses(*nothing) == ["insufficient_data"]


def test_without_counted_answers_or_a_reference_nothing_is_claimed() -> None:
    bare = window(0, Answers("binary", 10))
    assert statuses(bare) == ["insufficient_data"]
    assert judge_performance(SPEC, "1", [bare], None) == []


def test_the_area_is_tested_by_how_that_of_the_references_rows_varies() -> None:
    from scipy.stats import pearson3

    def pairs(scores: Any, labels: Any) -> Any:
        over = scores[labels == 1][:, None] - scores[labels == 0]
        return (over > 0) + (over == 0) / 2

    def drawn(steep: float, level: float, highest: float, rows: int) -> tuple[Any, Any]:
        z = rng.choice(np.linspace(-2, highest, 5), rows)
        return 1 / (1 + np.exp(-2 * z)), (rng.random(rows) < 1 / (1 + np.exp(-level - steep * z))).astype(float)

    rng = np.random.default_rng(8)
    # Later rows are easy, so that their loss is no larger, but in a worse order.
    (scores, labels), (later, truth) = drawn(2.0, 0.0, 2.0, 1500), drawn(1.2, -1.7, 0.0, 600)
    profile = AnswersProfile.build(AnswerColumns(pa.array(labels), None, pa.array(scores)))
    assert profile is not None
    (verdict,) = judge_performance(SPEC, "1", counted(profile, later, truth, np.zeros(600)), profile)
    assert verdict.reason.startswith("ROC AUC")
    right = pairs(scores, labels)
    of_positive, of_negative = right.mean(axis=1) - right.mean(), right.mean(axis=0) - right.mean()
    n1, n0 = truth.sum(), 600 - truth.sum()
    v1, v0 = of_positive.var(ddof=1), of_negative.var(ddof=1)
    variance = v1 / n1 + v0 / n0
    third = (of_positive**3).mean() / n1**2 + (of_negative**3).mean() / n0**2
    third += 6 * (of_positive[:, None] * of_negative * right).mean() / n1 / n0
    # Without timestamps three quarters of the floor of 0.02 are granted, and the reference counts as one week.
    error = np.sqrt(variance + v1 / labels.sum() + v0 / (1 - labels).sum())
    z = (right.mean() - pairs(later, truth).mean() - 0.015) / error
    expected = pearson3.sf(z, -third / error**3)
    assert verdict.figures["p_value"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("misplaced", [0, 1])
def test_a_reference_that_tells_classes_apart_does_not_make_one_error_a_loss(misplaced: int) -> None:
    labels = np.repeat([0.0, 1.0], 200)
    half = np.tile(np.linspace(0.05, 0.4, 200), 2)
    scores = abs(labels - half)
    scores[200 : 200 + misplaced] = 0.39  # one positive under the highest negatives
    profile = AnswersProfile.build(AnswerColumns(pa.array(labels), None, pa.array(scores)))
    assert profile is not None
    truth = np.repeat([0.0, 1.0], [80, 20])
    later = np.where(truth == 1, 0.9, 0.2)
    later[-1] = 0.01
    (verdict,) = judge_performance(SPEC, "1", counted(profile, later, truth, np.zeros(100)), profile)
    assert verdict.figures["reference_roc_auc"] == pytest.approx(1.0, abs=2e-4)
    assert verdict.figures["roc_auc"] == pytest.approx(0.95)
    assert verdict.status == "ok"


def regression(noise: float, seed: int, rows: int = 1000) -> AnswerColumns:
    rng = np.random.default_rng(seed)
    labels = rng.normal(50, 10, rows)
    return AnswerColumns(pa.array(labels), pa.array(labels + rng.standard_t(5, rows) * noise))


def judged(profile: AnswersProfile, columns: AnswerColumns) -> WindowVerdict:
    rows = len(columns.labels)
    (answers,) = count_answers(profile.layout, columns, np.zeros(rows, dtype=np.int64), 1)
    (verdict,) = judge_performance(SPEC, "1", [window(0, answers)], profile)
    return verdict


def test_a_regression_is_judged_by_its_squared_error() -> None:
    profile = AnswersProfile.build(regression(2.0, 0, 5000))
    assert profile is not None
    assert profile.layout.problem == "regression"
    assert judged(profile, regression(2.0, 1)).status == "ok"
    worse = judged(profile, regression(2.6, 2))
    assert worse.status == "degraded"
    assert worse.reason.startswith("squared error ")


def test_more_classes_are_judged_by_their_error_rate() -> None:
    def columns(right: float, seed: int, rows: int = 1500) -> AnswerColumns:
        rng = np.random.default_rng(seed)
        labels = rng.choice(["a", "b", "c"], rows)
        said = np.where(rng.random(rows) < right, labels, "b")
        return AnswerColumns(pa.array(labels), pa.array(said))

    profile = AnswersProfile.build(columns(0.8, 0, 8000))
    assert profile is not None
    assert judged(profile, columns(0.8, 1)).status == "ok"
    assert judged(profile, columns(0.7, 2)).reason.startswith("error rate 0.")
    assert judged(profile, columns(0.7, 2)).status == "degraded"


def test_weeks_that_differ_in_the_reference_make_the_test_milder() -> None:
    assert beyond_chance([mean(30.0, 40.0, 60), mean(30.0, 40.0, 60)]) is None
    same = [mean(100.0 * at, 100.0 * at * at + 25, 100) for at in (0.5, 0.5, 0.5)]
    apart = [mean(100.0 * at, 100.0 * at * at + 25, 100) for at in (0.1, 0.5, 0.9)]
    assert beyond_chance(same) == 0.0
    assert beyond_chance(apart) == pytest.approx(0.4, abs=0.01)
    rng = np.random.default_rng(0)
    weeks = np.repeat(np.arange(8), 2000)
    parts = [World(truth).draw(rng, 2000) for truth in np.tile([1.3, 0.6], 4)]
    scores, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    varied = AnswersProfile.build(AnswerColumns(pa.array(labels), None, pa.array(scores)), {7: weeks})
    assert varied is not None
    assert varied.weeks == 8
    assert {span: set(figures) for span, figures in varied.spread.items()} == {7: {"loss", "roc_auc", "expected"}}
    assert (
        varied.varies("loss", timedelta(days=1))
        == varied.varies("loss", timedelta(days=28))
        == varied.spread[7]["loss"]
    )
    assert AnswersProfile.from_dict(varied.to_dict()).spread == varied.spread
    days = stream(varied, seed=6, a_day=1500, days=[World(0.6)])
    steady = AnswersProfile(varied.layout, varied.answers)
    assert statuses(*days, profile=steady) == ["degraded"]
    assert statuses(*days, profile=varied) == ["ok"]


def test_layouts_of_counted_classes_are_bounded() -> None:
    names = [f"c{at:04}" for at in range(10_000)]
    (answers,) = count_answers(
        AnswerLayout("classes", ("c0000",)), AnswerColumns(pa.array(names), pa.array(names)), np.zeros(10_000, int), 1
    )
    assert answers.pairs == {("c0000", "c0000"): 1, ("(other)", "(other)"): 9999}
