"""The `:table` row of the profile table: which columns had values, and how good the answers were."""

from __future__ import annotations

from collections.abc import Iterable

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.answers import Answers
from millrace.monitoring.reference.performance import performance_columns
from millrace.monitoring.tables.statistics import Row
from millrace.monitoring.verdicts.fairness import fairness_columns


def table_row(window: WindowCounts, columns: Iterable[str], others: Answers | None = None) -> Row:
    """Rows, those of the columns that have values, and quality of the answers whose labels are known (null without labels).

    With `others`, the answers for which a boolean slice is false, the fairness figures of the window, for which it is true.
    """
    named = sorted(name for name in columns if window.cells[name][1:].any())
    row: Row = {"count": window.rows, "non_null_columns": named}
    if window.answers is None:
        return row
    if window.answers.labelled:
        row |= performance_columns(window.answers)
    if others is not None:
        row |= fairness_columns(window.answers, others)
    return row
