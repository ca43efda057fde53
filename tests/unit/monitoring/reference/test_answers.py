"""Answers as counts: against plain counting, and the laws of adding."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.monitoring.reference.answers import AnswerLayout, Answers, added, score_edges
from millrace.monitoring.reference.answers_profile import AnswersProfile
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers, layout_of
from millrace.monitoring.reference.profile import ReferenceProfile

Row = tuple[Any, Any, Any]
BINARY = AnswerLayout("binary", ("0", "1"))
_SCORES = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0, math.nan, -0.1, 1.5]))
_BINARY = st.tuples(st.sampled_from([None, 0, 1]), st.sampled_from([None, 0, 1]), _SCORES)
_NUMBER = st.one_of(st.none(), st.floats(-1e9, 1e9), st.sampled_from([math.nan, math.inf, 0.0]))
_CLASS = st.sampled_from([None, "a", "b", "rare"])
_PROBLEMS = {
    "binary": (BINARY, (pa.int64(), pa.float64(), pa.float64()), _BINARY),
    "classes": (
        AnswerLayout("classes", ("a", "b")),
        (pa.string(), pa.string(), pa.float64()),
        st.tuples(_CLASS, _CLASS, _SCORES),
    ),
    "regression": (
        AnswerLayout("regression", (), 2.5),
        (pa.float64(), pa.float64(), pa.float64()),
        st.tuples(_NUMBER, _NUMBER, st.none()),
    ),
}


def counted(problem: str, rows: list[Row]) -> Answers:
    layout, types, _ = _PROBLEMS[problem]
    columns = [pa.array([row[at] for row in rows], type_) for at, type_ in enumerate(types)]
    return count_answers(layout, AnswerColumns(*columns), np.zeros(len(rows), dtype=np.int64), 1)[0]


@given(
    st.sampled_from(sorted(_PROBLEMS)).flatmap(lambda p: st.tuples(st.just(p), st.lists(_PROBLEMS[p][2], max_size=24))),
    st.data(),
)
@settings(max_examples=120, deadline=None)
def test_adding_is_counting_together_however_rows_are_split_and_ordered(
    case: tuple[str, list[Row]], data: st.DataObject
) -> None:
    problem, rows = case
    cuts = sorted(data.draw(st.tuples(st.integers(0, len(rows)), st.integers(0, len(rows)))))
    a, b, c = (counted(problem, part) for part in (rows[: cuts[0]], rows[cuts[0] : cuts[1]], rows[cuts[1] :]))
    whole = counted(problem, data.draw(st.permutations(rows)))
    assert (a + b) + c == a + (b + c) == c + (b + a) == added([b, a, c], whole.problem) == whole
    assert whole + Answers(whole.problem) == whole
    assert Answers.from_json(whole.to_json()) == whole


@given(st.lists(_BINARY, max_size=30))
@settings(max_examples=100, deadline=None)
def test_binary_answers_are_counted_as_by_hand(rows: list[Row]) -> None:
    found = counted("binary", rows)
    scored = [(y, p) for y, _, p in rows if p is not None and 0 <= p <= 1]
    said = [
        (y, str(s) if s is not None else str(int(p > 0.5))) for y, s, p in rows if s is not None or (y, p) in scored
    ]
    assert found.rows == len(rows)
    assert found.pairs == Counter((s, None if y is None else str(y)) for y, s in said)
    assert found.labelled == sum(y is not None for y, _ in said)
    assert found.scored == sum(y is not None for y, _ in scored)
    by_label = found.scores["1"].sum(axis=0).tolist() if "1" in found.scores else [0, 0, 0]
    assert by_label == [sum(y == label for y, _ in scored) for label in (0, 1, None)]
    given_to_truth = [min(max(p if y else 1 - p, 1e-6), 1 - 1e-6) for y, p in scored if y is not None]
    assert found.total("log_loss") == pytest.approx(math.fsum(-math.log(p) for p in given_to_truth))
    assert found.total("brier") == pytest.approx(math.fsum((p - y) ** 2 for y, p in scored if y is not None))


def test_cells_of_scores_are_fine_at_the_ends_symmetric_and_cut_at_a_half() -> None:
    edges = score_edges()
    assert len(edges) == 255
    assert edges[0] < 1e-7
    assert edges[127] == 0.5
    assert np.all(np.diff(edges) > 0)
    assert np.allclose(edges + edges[::-1], 1.0)
    assert np.diff(edges).max() < 0.012
    layout, at = BINARY, np.array([0, 0, 1, 1, 2], dtype=np.int64)
    scores = pa.array([0.0, 1.0, 0.5, np.nextafter(0.5, 1), 1e-9])
    a, b, c = count_answers(layout, AnswerColumns(scores=scores), at, 3)
    assert np.flatnonzero(a.scores["1"][:, 2]).tolist() == [0, 255]
    assert np.flatnonzero(b.scores["1"][:, 2]).tolist() == [127, 128]
    assert b.pairs == {("0", None): 1, ("1", None): 1}
    assert np.flatnonzero(c.scores["1"][:, 2]).tolist() == [0]


def test_certain_and_wrong_weighs_as_much_as_one_in_a_million() -> None:
    found = counted("binary", [(1, 1, 0.0), (0, 0, 0.0), (0, 1, 1.0)])
    assert found.total("log_loss") == pytest.approx(-2 * math.log(1e-6) + 1e-6)
    assert found.total("brier") == 2.0


def test_groups_are_counted_apart_and_rows_of_none_are_left_out() -> None:
    labels, said = pa.array(["a", "b", "a", None, "zebra"]), pa.array(["a", "a", "b", "b", "a"])
    groups = np.array([0, 1, 1, -1, 0], dtype=np.int64)
    layout = AnswerLayout("classes", ("a", "b"))
    first, second = count_answers(layout, AnswerColumns(labels, said, pa.array([0.9, 0.8, 0.7, 0.6, None])), groups, 2)
    assert (first.rows, first.labelled, first.scored) == (2, 2, 1)
    assert first.pairs == {("a", "a"): 1, ("a", "(other)"): 1}
    assert second.pairs == {("a", "b"): 1, ("b", "a"): 1}
    assert sorted(second.scores) == ["a", "b"]
    assert second.scores["a"].sum(axis=0).tolist() == [1, 0, 0]  # it said a and b came: wrong


def test_numbers_texts_and_booleans_name_the_same_class() -> None:
    groups = np.zeros(2, dtype=np.int64)
    for labels in (pa.array([1, 0]), pa.array([True, False]), pa.array(["1", "0"]), pa.array([1.0, 0.0])):
        (found,) = count_answers(BINARY, AnswerColumns(labels, pa.array(["1", "0"]).dictionary_encode()), groups, 1)
        assert found.pairs == {("1", "1"): 1, ("0", "0"): 1}


def test_a_regression_keeps_sums_of_powers_around_its_centre() -> None:
    found = counted("regression", [(1.0, 2.0, None), (0.0, -1.0, None), (None, 5.0, None), (4.0, math.nan, None)])
    assert (found.rows, found.labelled, found.pairs, found.scores) == (4, 2, {}, {})
    assert {name: found.total(name) for name in ("abs", "e", "e2", "y", "y2", "e2y", "ape", "ape_rows")} == {
        "abs": 2.0, "e": 0.0, "e2": 2.0, "y": -4.0, "y2": 8.5, "e2y": -4.0, "ape": 1.0, "ape_rows": 1.0,
    }  # fmt: skip


def test_the_problem_is_read_from_the_reference() -> None:
    whole, score = pa.array([3, 1, 2]), pa.array([0.2, 0.5, 0.9])
    assert layout_of(AnswerColumns(pa.array([1, 0, None]), None, score)) == BINARY
    assert layout_of(AnswerColumns(pa.array(["no", "yes"]), pa.array(["no", "no"]), None)) == AnswerLayout(
        "classes", ("no", "yes")
    )
    assert layout_of(AnswerColumns(whole, whole, None)).classes == ("1", "2", "3")
    assert layout_of(AnswerColumns(whole, score, None)) == AnswerLayout("regression", (), 2.0)
    assert layout_of(AnswerColumns(whole, whole, None), "regression").problem == "regression"
    many = layout_of(AnswerColumns(pa.array([f"c{at:03}" for at in range(10_000)]), None, score))
    assert len(many.classes) == 50


def test_sets_of_different_problems_are_not_added() -> None:
    with pytest.raises(InvalidInput, match="can't be added"):
        _ = Answers("binary") + Answers("regression")
    for text in ("{}", "nonsense", '{"format": 1}', '{"format": 9}'):
        with pytest.raises(InvalidInput):
            Answers.from_json(text)


def test_the_profile_counts_the_answers_of_rows_that_were_not_trained_on() -> None:
    scores = pa.array([None, 0.8, 0.4, 0.5])
    labels, said = pa.array([1, 1, 0, None]), pa.array([None, 1, 0, 1])
    profile = ReferenceProfile.build(pa.table({"x": [1.0, 2.0, 3.0, 4.0]}), scores, labels, predictions=said)
    assert profile.answers is not None
    assert profile.answers.layout == BINARY
    assert profile.answers.answers == counted("binary", [(1, 1, 0.8), (0, 0, 0.4)])
    assert ReferenceProfile.from_json(profile.to_json()) == profile
    assert AnswersProfile.build(AnswerColumns(pa.array([None, 1]), pa.array([1, None]))) is None


def test_an_older_reference_without_answers_is_read() -> None:
    profile = ReferenceProfile.build(pa.table({"x": [1.0, 2.0]}))
    text = profile.to_json().replace(',"answers":null', "")
    assert ReferenceProfile.from_json(text) == profile
