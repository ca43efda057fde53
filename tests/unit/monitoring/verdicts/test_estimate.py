"""The estimate without labels on streams whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.monitoring.reference.answers_profile import AnswersProfile
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers
from millrace.monitoring.reference.expected import Calibration
from millrace.monitoring.types import WindowVerdict
from millrace.monitoring.verdicts.estimate import judge_estimate
from millrace.statistics.calibration import isotonic, log_odds_line
from tests.unit.monitoring.verdicts.answer_streams import MILD, SAME, SPEC, World, counted, reference, stream, window

PROFILE = reference()
HARDER = World(mean=0.5, sd=0.7)  # more scores near a half


def judged(windows: Sequence[Any], profile: AnswersProfile = PROFILE) -> Sequence[WindowVerdict]:
    return judge_estimate(SPEC, "1", windows, profile)


def test_rows_that_became_harder_are_seen_without_a_label_and_the_figures_come_true() -> None:
    windows = stream(PROFILE, seed=1, a_day=2000, days=[SAME, HARDER], labelled=False)
    verdicts = judged(windows)
    assert [verdict.status for verdict in verdicts] == ["ok", "degraded"]
    assert verdicts[1].reason.endswith("not checked yet, for want of labels")
    (told,) = judged(stream(PROFILE, seed=2, a_day=20_000, days=[HARDER], labelled=False))
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    scores, labels = HARDER.draw(np.random.default_rng(3), 400_000)
    measured = {"accuracy": accuracy_score(labels, scores > 0.5), "roc_auc": roc_auc_score(labels, scores)}
    assert told.figures["expected_accuracy"] == pytest.approx(measured["accuracy"], abs=0.012)
    assert told.figures["expected_accuracy_low"] <= measured["accuracy"] <= told.figures["expected_accuracy_high"]
    assert told.figures["expected_roc_auc"] == pytest.approx(measured["roc_auc"], abs=0.015)
    assert told.figures["expected_loss"] == pytest.approx(log_loss(labels, scores), rel=0.03)


def test_intervals_hold_what_is_measured_later() -> None:
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scores, labels = SAME.draw(rng, 400)
        (told,) = judged(counted(PROFILE, scores, labels, np.zeros(400)))
        accuracy = float(np.mean((scores > 0.5) == labels))
        held.append(told.figures["expected_accuracy_low"] <= accuracy <= told.figures["expected_accuracy_high"])
    assert np.mean(held) > 0.88  # 95 % is meant


def test_a_changed_concept_is_invisible_to_it_until_labels_come_and_then_it_is_not_trusted() -> None:
    blind = judged(stream(PROFILE, seed=4, a_day=1000, days=[World(MILD)] * 8, labelled=False))
    assert {verdict.status for verdict in blind} == {"ok"}
    seen = judged(stream(PROFILE, seed=4, a_day=1000, days=[World(MILD)] * 8))
    assert seen[-1].status == "insufficient_data"
    assert "it can't be trusted: over the newest 8 days with labels it said 7" in seen[-1].reason
    assert seen[-1].figures["trusted"] == 0.0


def test_it_tells_how_right_it_has_been() -> None:
    verdict = judged(stream(PROFILE, seed=5, a_day=300, days=[SAME] * 30))[-1]
    figures = verdict.figures
    assert (verdict.status, figures["trusted"], figures["checked_windows"]) == ("ok", 1.0, 30.0)
    assert abs(figures["checked_estimated_accuracy"] - figures["checked_measured_accuracy"]) < 0.02
    assert figures["checked_worst_difference"] < 0.04
    assert "over the newest 30 days with labels it said" in verdict.reason
    assert f"never more than {figures['checked_worst_difference'] * 100:.1f} points apart over 7 days" in verdict.reason


def test_old_labels_are_heard_where_labels_come_late() -> None:
    windows = stream(PROFILE, seed=13, a_day=1000, days=[World(MILD)] * 40)
    bare = stream(PROFILE, seed=13, a_day=1000, days=[World(MILD)] * 40, labelled=False)
    told = judge_estimate(SPEC, "1", bare, PROFILE, labelled=windows[:10])
    assert told[0].figures["checked_windows"] == 1.0
    assert told[-1].figures["checked_windows"] == 10.0
    assert told[-1].status == "insufficient_data"
    # A replay has all labels at once; each window hears of those that had come when it ended.
    late = judge_estimate(SPEC, "1", bare, PROFILE, labelled=windows, labels_after=30)
    assert [verdict.figures.get("checked_windows", 0.0) for verdict in late] == [0.0] * 30 + [
        float(n) for n in range(1, 11)
    ]
    assert [verdict.status for verdict in late[:30]] == ["ok"] * 30
    assert late[-1].status == "insufficient_data"


def test_what_is_said_of_a_window_does_not_depend_on_where_the_log_begins() -> None:
    windows = stream(PROFILE, seed=14, a_day=50, days=[SAME] * 130)
    whole, part = judged(windows), judged(windows[31:])
    assert part[-1] == whole[-1]


def test_a_good_stream_is_left_alone() -> None:
    verdicts = judged(stream(PROFILE, seed=6, a_day=200, days=[SAME] * 120))
    assert {verdict.status for verdict in verdicts} == {"ok"}


def test_another_threshold_than_a_half_is_read_from_the_predictions() -> None:
    rng = np.random.default_rng(7)
    scores, labels = SAME.draw(rng, 20_000)
    said = (scores > 0.3).astype(float)
    columns = AnswerColumns(pa.array(np.full(20_000, np.nan), from_pandas=True), pa.array(said), pa.array(scores))
    (answers,) = count_answers(PROFILE.layout, columns, np.zeros(20_000, dtype=np.int64), 1)
    (told,) = judged([window(0, answers)])
    assert told.figures["expected_accuracy"] == pytest.approx(np.mean(said == labels), abs=0.01)


def test_scores_that_are_no_probabilities_are_calibrated() -> None:
    def drawn(rng: np.random.Generator, rows: int) -> tuple[Any, Any]:
        scores, labels = SAME.draw(rng, rows)
        return scores**3, labels

    rng = np.random.default_rng(8)
    scores, labels = drawn(rng, 8000)
    profile = AnswersProfile.build(AnswerColumns(pa.array(labels), None, pa.array(scores)))
    assert profile is not None
    later, truth = drawn(rng, 8000)
    verdict = judged(counted(profile, later, truth, np.zeros(8000)), profile)[-1]
    assert verdict.figures["expected_accuracy"] == pytest.approx(np.mean((later > 0.5) == truth), abs=0.015)
    assert verdict.status == "ok"


def test_more_classes_have_an_expected_accuracy_of_the_predicted_class() -> None:
    def columns(rng: np.random.Generator, sure: float, rows: int) -> AnswerColumns:
        scores = rng.beta(8 * sure, 8 * (1 - sure), rows)
        said = rng.choice(["a", "b", "c"], rows)
        right = rng.random(rows) < np.where(said == "c", scores**2, scores)  # c is overrated
        return AnswerColumns(pa.array(np.where(right, said, "d")), pa.array(said), pa.array(scores))

    rng = np.random.default_rng(9)
    profile = AnswersProfile.build(columns(rng, 0.8, 12_000))
    assert profile is not None
    harder = columns(rng, 0.6, 3000)
    (answers,) = count_answers(profile.layout, harder, np.zeros(3000, dtype=np.int64), 1)
    (told,) = judged([window(0, answers)], profile)
    measured = np.mean([a == b for a, b in zip(harder.labels.to_pylist(), harder.predictions.to_pylist(), strict=True)])
    assert told.status == "degraded"
    assert told.figures["expected_accuracy"] == pytest.approx(measured, abs=0.03)
    assert "ROC AUC" not in told.reason


def test_too_little_to_say_is_said() -> None:
    few = judged(stream(PROFILE, seed=10, a_day=1, days=[SAME] * 5))
    assert {verdict.status for verdict in few} == {"insufficient_data"}
    assert few[0].reason == "fewer than 30 scores over 28 days"
    small = reference(60)
    (told,) = judged(stream(small, seed=11, a_day=100, days=[SAME]), small)
    assert told.reason == "the reference has 60 scores with labels, 100 are needed"
    unscored = AnswersProfile.build(AnswerColumns(pa.array([0, 1]), pa.array([1, 1])))
    assert judge_estimate(SPEC, "1", [], unscored) == judge_estimate(SPEC, "1", [], None) == []
    missing = judged(counted(PROFILE, np.full(50, np.nan), np.ones(50), np.zeros(50)))
    assert missing[0].status == "insufficient_data"


def test_calibration_learns_the_line_and_the_steps() -> None:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(12)
    scores = np.linspace(0.02, 0.98, 60)
    rows = rng.integers(20, 200, 60)
    right = rng.binomial(rows, scores**2).astype(float)
    line = log_odds_line(scores, right, rows - right)
    x = np.log(scores / (1 - scores))[:, None]
    theirs = LogisticRegression(C=1e6).fit(np.r_[x, x], np.r_[np.ones(60), np.zeros(60)], np.r_[right, rows - right])
    assert line == pytest.approx(theirs.predict_proba(x)[:, 1], abs=0.005)
    steps = IsotonicRegression().fit(scores, right / rows, rows).predict(scores)
    assert isotonic(right / rows, rows.astype(float)) == pytest.approx(steps)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_chances_rise_with_the_score_and_are_chances(rows: list[tuple[float, int]]) -> None:
    columns = AnswerColumns(pa.array([y for _, y in rows]), None, pa.array([p for p, _ in rows]))
    profile = AnswersProfile.build(columns)
    assert profile is not None
    chances = Calibration.of(profile.answers).chances
    assert chances.shape == (1, 256)
    assert np.all((chances >= 0) & (chances <= 1))
    assert np.all(np.diff(chances) >= -1e-12)
