"""Law L2 through the pipeline: what happens after T changes nothing that was known at T."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.pipeline.snapshots import pin_sources
from millrace.pipeline.stages.refresh import RefreshSnapshots
from millrace.pipeline.training_parts import assemble
from millrace.workspace import Workspace
from tests.unit.pipeline.shop import (
    FEATURES,
    LABELS,
    PURCHASES,
    START,
    WEEK,
    Purchase,
    context,
    declared,
    features,
    features_at,
    labels,
    labels_at,
    purchases,
    sorted_rows,
)

TICKS = 5
T = START + (TICKS - 1) * WEEK
US = timedelta(microseconds=1)
PIPELINE = declared()

CUSTOMERS, AMOUNTS = st.integers(1, 4), st.integers(0, 400).map(lambda n: n / 4)
# Around the ticks, where an off-by-one would show, and anywhere else.
EDGES = st.tuples(st.integers(-1, TICKS - 1), st.sampled_from([-US, US * 0, US])).map(
    lambda e: START + e[0] * WEEK + e[1]
)
ANYWHERE = st.integers(-10 * 24, (TICKS - 1) * 7 * 24).map(lambda hours: START + timedelta(hours=hours))
LATER = st.integers(1, 10**13).map(lambda us: T + timedelta(microseconds=us)) | st.sampled_from([T + US])
PAST = st.lists(st.tuples(CUSTOMERS, (EDGES | ANYWHERE).filter(lambda at: at <= T), AMOUNTS), min_size=3, max_size=12)
FUTURE = st.lists(st.tuples(CUSTOMERS, LATER, AMOUNTS), max_size=6)


def refreshed(workspace: Workspace, rows: list[Purchase]) -> None:
    """Load the rows and bring features and labels up to T, as a run as of T does."""
    table = purchases(rows)
    workspace.lake.ensure(PURCHASES, table.schema)
    workspace.lake.append(PURCHASES, table)
    for each in (features, labels):
        RefreshSnapshots(each, T, pin_sources(workspace, each, None, {})).run(context(workspace, PIPELINE, T))


def training_rows(workspace: Workspace) -> tuple[pa.Table, pa.Table] | str:
    """Training set and holdout as of T, or why there is none."""
    try:
        parts = assemble(workspace, PIPELINE, context(workspace, PIPELINE, T).pins)
    except InvalidInput as error:
        return error.message
    return parts.train.table, parts.holdout.table


@given(past=PAST, future=FUTURE, other=FUTURE)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_after_a_time_change_nothing_known_at_it(
    open_home: Callable[[], Workspace], past: list[Purchase], future: list[Purchase], other: list[Purchase]
) -> None:
    one, two = open_home(), open_home()
    refreshed(one, [*past, *future])
    refreshed(two, [*other, *past])

    expected = [row for n in range(TICKS) for row in features_at(past, START + n * WEEK)]
    known = [row for n in range(TICKS - 2) for row in labels_at(past, START + n * WEEK)]
    for workspace in (one, two):
        assert sorted_rows(workspace.lake.read(FEATURES), "feature_time") == expected
        assert sorted_rows(workspace.lake.read(LABELS), "label_time") == known

    first, second = training_rows(one), training_rows(two)
    assert str(first) == str(second)
    if isinstance(first, tuple):
        for row in [*first[0].to_pylist(), *first[1].to_pylist()]:
            assert row["label_time"] + 2 * WEEK <= T
            (seen,) = (
                each for each in features_at(past, row["label_time"]) if each["customer_id"] == row["customer_id"]
            )
            assert (row["purchases"], row["spend"]) == (seen["purchases"], seen["spend"])


def test_changing_and_deleting_later_rows_changes_nothing_known_before(open_home: Callable[[], Workspace]) -> None:
    workspace = open_home()
    past = [(one, START + n * WEEK, 10.0 * one) for one in (1, 2, 3) for n in range(-1, TICKS, one)]
    refreshed(workspace, [*past, (1, T + US, 99.0), (4, T + WEEK, 50.0)])
    before = training_rows(workspace)
    snapshots = sorted_rows(workspace.lake.read(FEATURES), "feature_time")
    assert isinstance(before, tuple)

    workspace.lake.delete(PURCHASES, "amount = 99.0")
    workspace.lake.overwrite(PURCHASES, purchases([*past, (4, T + WEEK, 51.0), (5, T + US, 1.0)]))
    refreshed(workspace, [(6, T + WEEK, 2.0)])
    after = training_rows(workspace)

    assert sorted_rows(workspace.lake.read(FEATURES), "feature_time") == snapshots
    assert isinstance(after, tuple)
    assert [table.to_pylist() for table in after] == [table.to_pylist() for table in before]
