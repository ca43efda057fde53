"""Importance: its interval against the formula by hand, and its table and picture."""

from __future__ import annotations

import csv
import io
import math
import statistics
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from millrace.automl.importance import summed
from millrace.automl.importance_report import importance_csv, importance_svg
from millrace.automl.types import Importance, Problem

PROBLEM = Problem("classification", "y", "log_loss", higher_is_better=False, classes=(0, 1), positive=1)
T_OF_4 = 2.7764451051977987  # Student's t, 4 degrees, 97.5 %: any table has it as 2.776


class TestInterval:
    def test_it_is_the_corrected_one_by_hand(self) -> None:
        losses = [0.10, 0.14, 0.08, 0.12, 0.11]
        (found,) = summed(["a"], np.array(losses)[:, None], 0.25)
        mean, half = statistics.mean(losses), T_OF_4 * statistics.stdev(losses) * math.sqrt(1 / 5 + 0.25)
        assert found.loss == pytest.approx(mean)
        assert [found.low, found.high] == pytest.approx([mean - half, mean + half])

    def test_one_fold_has_none(self) -> None:
        (found,) = summed(["a"], np.array([[0.1]]), 0.25)
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    def test_the_most_important_comes_first_and_equals_keep_their_order(self) -> None:
        found = summed(["a", "b", "c"], np.array([[0.1, 0.3, 0.1], [0.1, 0.3, 0.1]]), 0.25)
        assert [each.column for each in found] == ["b", "a", "c"]


class TestForms:
    def test_the_table_has_a_line_for_each_column(self) -> None:
        found = [Importance("a, b", 0.5, 0.1, 0.25, 0.75), Importance("c", -0.01, 0.0)]
        lines = list(csv.DictReader(io.StringIO(importance_csv(found))))
        assert [line["column"] for line in lines] == ["a, b", "c"]
        assert [float(lines[0][name]) for name in ("loss", "low", "high", "spread")] == [0.5, 0.25, 0.75, 0.1]
        assert lines[1]["low"] == ""

    @pytest.mark.parametrize("count", [0, 1, 3, 200])
    def test_the_picture_is_whole_whatever_is_drawn(self, count: int) -> None:
        found = [Importance(f"<column & {number}>" * 3, 1 / (number + 1), 0.1, 0.0, 1.0) for number in range(count)]
        picture = ET.fromstring(importance_svg(found, PROBLEM))  # noqa: S314 - our own
        bars = [each for each in picture.iter() if each.get("class") == "bar"]
        assert len(bars) == min(count, 25)
