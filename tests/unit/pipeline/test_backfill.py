"""Law L9: a table made in any chunks, with late rows and interruptions in between, equals one that is made at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import millrace as mr
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.pipeline.declare import FeatureTable
from millrace.pipeline.snapshot_state import load_state
from millrace.pipeline.snapshots import pin_sources
from millrace.pipeline.stages.refresh import Again, RefreshSnapshots
from millrace.pipeline.stages.stage import Outcome
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import Fill
from tests.unit.pipeline.shop import DAY, PURCHASES, SOURCE, START, WEEK, Purchase, context, declared, purchases

US = timedelta(microseconds=1)
SPEND = "ml.features.spend"
WINDOWS = mr.Windows(
    SOURCE, keys=["customer_id"], n=mr.Count(days=10), total=mr.Sum("amount", days=10), last=mr.Last("at", days=3)
)
TABLE = mr.window_table(SPEND, WINDOWS, every=DAY, start=START)


def windows_at(rows: Sequence[Purchase], tick: datetime) -> list[dict[str, object]]:
    """What `TABLE` has to hold for a time, in plain Python."""
    found = []
    for customer in sorted({one for one, at, _ in rows if tick - 10 * DAY < at <= tick}):
        mine = [(at, amount) for one, at, amount in rows if one == customer and tick - 10 * DAY < at <= tick]
        newest = max(at for at, _ in mine)
        found.append(
            {
                "customer_id": customer,
                "feature_time": tick,
                "n": len(mine),
                "total": sum(amount for _, amount in mine),
                "last": newest if newest > tick - 3 * DAY else None,
            }
        )
    return found


def refresh(workspace: Workspace, due: datetime, table: FeatureTable = TABLE, **options: Any) -> Outcome:
    stage = RefreshSnapshots(table, due, pin_sources(workspace, table, None, {}), **options)
    return stage.run(context(workspace, declared(), due))


def stored(workspace: Workspace, name: str = SPEND) -> list[dict[str, object]]:
    order = [("feature_time", "ascending"), ("customer_id", "ascending")]
    rows: list[dict[str, object]] = workspace.lake.read(name).sort_by(order).to_pylist()
    return rows


def expected(rows: Sequence[Purchase], ticks: int) -> list[dict[str, object]]:
    return [row for n in range(ticks) for row in windows_at(rows, START + n * DAY)]


def load(workspace: Workspace, rows: Sequence[Purchase]) -> None:
    workspace.lake.ensure(PURCHASES, purchases([]).schema)
    workspace.lake.append(PURCHASES, purchases(rows))


WHEN = st.integers(-12 * 8, 14 * 8).map(lambda n: START + timedelta(hours=3 * n)) | st.integers(-9, 14).map(
    lambda n: START + n * DAY + US
)
ROWS = st.lists(st.tuples(st.integers(1, 3), WHEN, st.integers(0, 40).map(lambda n: n / 4)), max_size=8)
STEP = st.fixed_dictionaries(
    {
        "rows": ROWS,
        "remove": st.sampled_from([None, 1, 2]),
        "replace": st.booleans(),
        "due": st.integers(0, 13),
        "chunk": st.integers(1, 6),
        "killed_after": st.none() | st.integers(0, 6),
    }
)


class _Killed(BaseException):
    """Stands for the end of the process."""


class _Killer:
    """Lets so many writes through, then ends the process, as it were, before or after the one that follows."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, after: int | None) -> None:
        self.left = after
        store = type(workspace.lake.store)
        for name in ("append", "overwrite", "create", "delete", "remove"):
            monkeypatch.setattr(store, name, self._wrapped(getattr(store, name)))
        monkeypatch.setattr(type(workspace.lake), "describe", self._wrapped(type(workspace.lake).describe))

    def _wrapped(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            if self.left == 0:
                raise _Killed
            done = write(*given, **named)
            self.left = None if self.left is None else self.left - 1
            return done

        return wrapped


KILLED: dict[str, Any] = {"rows": [], "remove": None, "replace": False, "due": 0, "chunk": 1, "killed_after": 1}


@given(first=ROWS.filter(bool), steps=st.lists(STEP, min_size=1, max_size=4))
@example(first=[(1, START, 1.0)], steps=[KILLED, KILLED])  # when the table is there, and then when it has rows
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_backfill_in_any_chunks_equals_a_full_one(
    open_home: Callable[[], Workspace], first: list[Purchase], steps: list[dict[str, Any]]
) -> None:
    workspace, rows = open_home(), list(first)
    load(workspace, first)
    newest = 0
    for step in steps:
        rows = _change(workspace, rows, step)
        newest = max(newest, step["due"])
        with pytest.MonkeyPatch.context() as patch:
            _Killer(workspace, patch, step["killed_after"])
            try:
                refresh(workspace, START + step["due"] * DAY, chunk=step["chunk"])
            except _Killed:
                continue
        assert stored(workspace) == expected(rows, _ticks(workspace))
    refresh(workspace, START + newest * DAY, chunk=2)
    assert stored(workspace) == expected(rows, newest + 1)
    _equals_full(open_home(), rows, newest, workspace)


def _change(workspace: Workspace, rows: list[Purchase], step: dict[str, Any]) -> list[Purchase]:
    if step["remove"] is not None:
        workspace.lake.delete(PURCHASES, f"customer_id = {step['remove']}")
        rows = [row for row in rows if row[0] != step["remove"]]
    rows = [*rows, *step["rows"]]
    if step["replace"]:
        workspace.lake.overwrite(PURCHASES, purchases(rows))
    else:
        load(workspace, step["rows"])
    return rows


def _ticks(workspace: Workspace) -> int:
    state = load_state(workspace, SPEND)
    assert state is not None
    assert state.last is not None
    return (state.last - START) // DAY + 1


def _equals_full(other: Workspace, rows: list[Purchase], newest: int, workspace: Workspace) -> None:
    load(other, rows)
    refresh(other, START + newest * DAY, chunk=1000)
    assert stored(other) == stored(workspace)
    assert other.lake.schema(SPEND) == workspace.lake.schema(SPEND)


PAST: list[Purchase] = [(1, START - DAY, 1.0), (2, START + DAY, 2.0), (1, START + 4 * DAY, 4.0)]
OTHER = mr.window_table(SPEND, mr.Windows(SOURCE, keys=["customer_id"], n=mr.Count(days=3)), every=DAY, start=START)


def test_a_rebuild_that_is_killed_leaves_the_old_table_and_goes_on(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(PAST))
    refresh(workspace, START + 9 * DAY)
    before, version = stored(workspace), workspace.lake.pin(SPEND).version
    with pytest.MonkeyPatch.context() as patch:
        _Killer(workspace, patch, 9)
        with pytest.raises(_Killed):
            refresh(workspace, START + 9 * DAY, OTHER, chunk=2)
    assert (stored(workspace), workspace.lake.pin(SPEND).version) == (before, version)
    state = load_state(workspace, SPEND)
    assert state is not None
    assert state.rebuild is not None
    assert state.rebuild.done_to is not None
    fill(PURCHASES, purchases([(3, START + 8 * DAY, 1.0)]))  # meanwhile more came
    again = refresh(workspace, START + 9 * DAY, OTHER, chunk=2)
    left = (state.rebuild.last - state.rebuild.done_to) // DAY
    assert again.output["snapshots"] == left + 2
    assert "all anew because its code changed (gone on with where it stopped)" in again.detail
    assert "those of 2025-03-11 to 2025-03-12 anew because rows of bronze.purchases changed" in again.detail
    assert stored(workspace) == [
        {key: row[key] for key in ("customer_id", "feature_time")} | {"n": _count(row)}
        for row in expected([*PAST, (3, START + 8 * DAY, 1.0)], 10)
        if _count(row)
    ]


def _count(row: dict[str, Any]) -> int:
    rows = [*PAST, (3, START + 8 * DAY, 1.0)]
    tick = row["feature_time"]
    return sum(one == row["customer_id"] and tick - 3 * DAY < at <= tick for one, at, _ in rows)


def test_a_rebuild_of_code_that_is_gone_again_is_forgotten(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(PAST))
    refresh(workspace, START + 9 * DAY)
    before = stored(workspace)
    with pytest.MonkeyPatch.context() as patch:
        _Killer(workspace, patch, 9)
        with pytest.raises(_Killed):
            refresh(workspace, START + 9 * DAY, OTHER, chunk=2)
    assert refresh(workspace, START + 9 * DAY).output["snapshots"] == 0
    state = load_state(workspace, SPEND)
    assert state is not None
    assert state.rebuild is None
    assert stored(workspace) == before


def test_readers_see_a_rebuild_as_one_version(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(PAST))
    refresh(workspace, START + 9 * DAY)
    before = int(workspace.lake.pin(SPEND).version)
    refresh(workspace, START + 9 * DAY, OTHER, chunk=2)
    assert workspace.lake.pin(SPEND).version == before + 1
    fill(PURCHASES, purchases([(1, START, 1.0)]))
    refresh(workspace, START + 9 * DAY, OTHER, chunk=2)
    assert workspace.lake.pin(SPEND).version == before + 2


def test_snapshots_are_made_anew_on_request(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(PAST))
    refresh(workspace, START + 9 * DAY)
    before = stored(workspace)
    some = refresh(workspace, START + 9 * DAY, again=Again(START + 2 * DAY - US, START + 5 * DAY + US))
    assert some.detail == "4 snapshots, 8 rows, those of 2025-03-05 to 2025-03-08 anew because it was asked for"
    assert "10 snapshots" in refresh(workspace, START + 9 * DAY, again=Again()).detail
    assert refresh(workspace, START + 9 * DAY, again=Again(START + 20 * DAY)).output["snapshots"] == 0
    assert stored(workspace) == before


def test_a_row_that_only_ended_changes_nothing_before_its_end(workspace: Workspace) -> None:
    people = mr.Source("bronze.people", event_time="since", history="scd2", valid_to="until")

    def compute(as_of: datetime, who: Any = people) -> Any:
        del as_of
        return who.select("customer_id", "region")

    def person(region: str, since: datetime, until: datetime | None) -> dict[str, object]:
        return {"customer_id": 1, "region": region, "since": since, "until": until}

    stamp = pa.timestamp("us", "UTC")
    schema = pa.schema([("customer_id", pa.int64()), ("region", pa.string()), ("since", stamp), ("until", stamp)])
    table = mr.feature_table("ml.features.people", keys=["customer_id"], every=WEEK, start=START)(compute)
    workspace.lake.ensure("bronze.people", schema)
    workspace.lake.append("bronze.people", pa.Table.from_pylist([person("north", START - DAY, None)], schema))
    refresh(workspace, START + 3 * WEEK, table)
    moved = START + 2 * WEEK - DAY
    now = [person("north", START - DAY, moved), person("south", moved, None)]
    workspace.lake.overwrite("bronze.people", pa.Table.from_pylist(now, schema))
    outcome = refresh(workspace, START + 3 * WEEK, table)
    assert "those of 2025-03-17 to 2025-03-24 anew" in outcome.detail
    assert [row["region"] for row in stored(workspace, table.name)] == ["north", "north", "south", "south"]


def test_a_function_that_gives_a_key_twice_is_refused(workspace: Workspace, fill: Fill) -> None:
    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        del as_of
        return tx.select("customer_id")

    fill(PURCHASES, purchases([*PAST, (1, START - DAY, 3.0)]))
    table = mr.feature_table("ml.features.twice", keys=["customer_id"], every=WEEK, start=START)(compute)
    with pytest.raises(InvalidInput, match="1 keys come more than once"):
        refresh(workspace, START, table)
    assert TableName.parse("ml.features.twice") not in {entry.name for entry in workspace.lake.catalog.list()}
