from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.pipeline.audit.job import Thresholds
from millrace.pipeline.audit.likeness import explained_share, label_likeness, separation

ROWS = 400
LABELS = np.tile([0, 1, 1, 0], ROWS // 4)
NOISE = np.random.default_rng(3).normal(size=ROWS)
FEW = np.arange(ROWS) % 200 == 0  # half a percent


def judged(values: Any, name: str = "x", **given: Any) -> tuple[str, str]:
    rows = pa.table({name: values, "churned": LABELS})
    finding, *_ = label_likeness(rows, [name], "churned", Thresholds(**given))
    return finding.severity, finding.fact


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (LABELS, "it equals it"),
        (1 - LABELS, "it is 0 where the label is 1 and 1 where it is 0"),
        (LABELS * -3.5 + 2, "it is -1.5 where the label is 1 and 2 where it is 0"),
        (pa.array(LABELS.astype(bool)), "AUC of 1.0000"),
        (np.where(FEW, 1 - LABELS, LABELS), "AUC of 0.995"),
        (LABELS * 100 + NOISE, "AUC of 1.0000"),
        (pa.array([None if label else 1.5 for label in LABELS]), "null where the label is 1"),
        (pa.array([["open", "closed"][label] for label in LABELS]), "2 values that explain 100.0%"),
        (pa.array([10 + 2 * (n % 3) + label for n, label in enumerate(LABELS)]), "6 values that explain 100.0%"),
        (pa.array((1_700_000_000 + 1000 * LABELS).tolist(), pa.timestamp("s")), "AUC of 1.0000"),
    ],
)
def test_a_column_that_tells_the_label_is_a_leak(values: Any, why: str) -> None:
    severity, fact = judged(values)
    assert severity == "leak"
    assert why in fact


@pytest.mark.parametrize(
    "values",
    [
        NOISE,
        LABELS + 0.7 * NOISE,  # strong, and honest
        np.where(np.arange(ROWS) % 20 == 0, 1 - LABELS, LABELS),  # right in 95 of 100
        pa.array(["same"] * ROWS),
        pa.array([f"id{n}" for n in range(ROWS)]),  # each row its own category explains everything, and nothing
        pa.array([None] * ROWS, pa.float64()),
        pa.array([[1, 2]] * ROWS),
    ],
)
def test_a_strong_feature_is_none(values: Any) -> None:
    assert judged(values)[0] == "ok"


def test_a_column_that_is_named_after_the_label_is_to_be_looked_at() -> None:
    assert judged(NOISE, name="churned_before")[0] == "warning"


def test_with_few_rows_or_one_class_nothing_is_said() -> None:
    assert judged(LABELS, min_rows=ROWS + 1)[0] == "warning"
    rows = pa.table({"x": np.zeros(ROWS), "churned": np.zeros(ROWS, dtype=int)})
    (finding,) = label_likeness(rows, ["x"], "churned", Thresholds())
    assert (finding.severity, "0 of the rarer class" in finding.fact) == ("warning", True)


def test_thresholds_are_the_callers() -> None:
    weaker = np.where(np.arange(ROWS) % 20 == 0, 1 - LABELS, LABELS)
    assert judged(weaker, auc=0.9)[0] == "leak"


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=40),
)
@settings(max_examples=80, deadline=None)
def test_separation_is_the_share_of_pairs_in_order_whichever_way_round(pairs: list[tuple[int, int]]) -> None:
    ones, zeros = [x for x, y in pairs if y], [x for x, y in pairs if not y]
    won = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in ones for b in zeros)
    area = won / (len(ones) * len(zeros)) if ones and zeros else 0.5
    numbers, labels = (np.array([float(pair[n]) for pair in pairs]) for n in (0, 1))
    assert separation(numbers, labels) == pytest.approx(max(area, 1 - area))


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 1)), min_size=1, max_size=40))
@settings(max_examples=80, deadline=None)
def test_the_explained_share_is_mutual_information_over_entropy(pairs: list[tuple[int, int]]) -> None:
    size = len(pairs)

    def entropy(of: list[Any]) -> float:
        return -sum(of.count(v) / size * math.log(of.count(v) / size) for v in set(of))

    labels = [y for _, y in pairs]
    whole = entropy(labels)
    shared = entropy([x for x, _ in pairs]) + whole - entropy(list(pairs))
    found = explained_share(np.array([x for x, _ in pairs]), np.array(labels, dtype=float))
    assert found == pytest.approx(shared / whole if whole else 0.0, abs=1e-9)
