"""The laws of the as-of join as properties, against the oracle. Few keys and few instants, so that matches, ties of time and edges are common.

One example holds several cases: small tables and questions of their own that share the rules (lookback, delay, time of
the reading) and are kept apart by a first key column. An engine that takes long for a call gets many cases at once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from millrace.features.attach import attach
from millrace.features.port import AsOfJoin
from millrace.features.types import FeatureSource, ResolvedLookup
from millrace.testing.feature_tables import INT, STAMP, FeatureTables, lookup
from millrace.testing.point_in_time import find

Rows = Mapping[tuple[int, Any], int | None]
_STEP = timedelta(hours=12)
_MOST_TO_SHRINK = 10
_NO_DEFAULT: dict[str, int] = {}
# Around a change to summer time and around 1970; exactly on a step (twice as often) or a microsecond beside it.
_STARTS = st.sampled_from([datetime(2024, 3, 31, tzinfo=UTC), datetime(1969, 12, 30, tzinfo=UTC)])
_TICKS = [timedelta(0), timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1)]
_PLACES = [step * _STEP + tick for tick in _TICKS for step in range(9)]
# A draw costs more than what is done with it: a row's key and time are drawn as one number, and so are a question's.
_IDENTITIES = st.sampled_from([(key, place) for place in _PLACES for key in (1, 2, 3)])
_QUESTIONS = st.sampled_from([(key, place) for place in [*_PLACES, None] for key in (1, 2, 3, None)])
_CASES = st.builds(
    lambda rows, other, asked: (rows, other, asked),
    st.dictionaries(_IDENTITIES, st.one_of(st.none(), st.integers(0, 9)), max_size=12),
    st.dictionaries(_IDENTITIES, st.one_of(st.none(), st.integers(0, 9)), max_size=12),
    st.lists(_QUESTIONS, max_size=8),
)
_TYPES = st.sampled_from(["int64", "int32", "string"])
_ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", None])


@dataclass(frozen=True)
class Case:
    """A table's rows, other rows for the same keys, and questions."""

    rows: Rows
    other: Rows
    asked: Sequence[tuple[int | None, datetime | None]]


@dataclass(frozen=True)
class World:
    """Cases that share their rules."""

    cases: Sequence[Case]
    window: timedelta | None
    delay: timedelta
    as_of: datetime
    defaults: Mapping[str, int]
    key: str
    zone: str | None
    commits: int

    def requests(self) -> pa.Table:
        """Columns `case`, `k`, `t`."""
        asked = [(number, key, at) for number, case in enumerate(self.cases) for key, at in case.asked]
        times = pa.array([at for _, _, at in asked], STAMP)
        if self.zone != "UTC":
            times = times.cast(pa.timestamp("us", self.zone))
        return pa.table(
            {
                "case": pa.array([number for number, _, _ in asked], INT),
                "k": _keys([key for _, key, _ in asked], self.key),
                "t": times,
            }
        )

    def rows(self, choose: Callable[[Case], Rows] = lambda case: case.rows, kind: pa.DataType = STAMP) -> pa.Table:
        """Columns `case`, `k`, `ts`, `v` of all cases."""
        every = [(number, *key, v) for number, case in enumerate(self.cases) for key, v in choose(case).items()]
        return pa.table(
            {
                "case": pa.array([row[0] for row in every], INT),
                "k": _keys([row[1] for row in every], self.key),
                "ts": pa.array([row[2] for row in every], kind),
                "v": pa.array([row[3] for row in every], INT),
            }
        )


def _keys(values: Sequence[int | None], kind: str) -> pa.Array:
    if kind == "string":
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.array(values, pa.type_for_alias(kind))


@st.composite
def worlds(draw: st.DrawFn, cases: int) -> World:
    """Worlds of that many cases."""
    start = draw(_STARTS)
    drawn = draw(st.lists(_CASES, min_size=cases, max_size=cases))
    return World(
        cases=[
            Case(_from(start, rows), _from(start, other), [(k, None if at is None else start + at) for k, at in asked])
            for rows, other, asked in drawn
        ],
        window=draw(st.one_of(st.none(), st.integers(0, 3).map(lambda steps: steps * _STEP))),
        delay=draw(st.sampled_from([timedelta(0), _STEP])),
        as_of=start + draw(st.sampled_from(_PLACES)),
        defaults=draw(st.sampled_from([_NO_DEFAULT, {"v": -1}])),
        key=draw(_TYPES),
        zone=draw(_ZONES),
        commits=draw(st.integers(1, 3)),
    )


@dataclass(frozen=True)
class Engine:
    """The engine under test with the tables of one example."""

    join: AsOfJoin
    tables: FeatureTables

    def lookup(self, world: World, rows: pa.Table | None = None, **rules: Any) -> ResolvedLookup:
        """The world's lookup over the rows (None: its own), written as a table."""
        source: FeatureSource = self.tables.make(
            world.rows() if rows is None else rows,
            keys=("case", "k"),
            available_after=world.delay,
            commits=world.commits,
            **rules,
        )
        return lookup(source, lookback=world.window, defaults=world.defaults)

    def answers(
        self, world: World, what: ResolvedLookup, as_of: datetime | None = None, asked: pa.Table | None = None
    ) -> list[Any]:
        """The values found for the requests (None: the world's own), one for each."""
        asked = world.requests() if asked is None else asked
        found = self.join.lookup(asked, what, as_of or world.as_of)
        assert len(found) == len(asked)
        values: list[Any] = found.column("v").to_pylist()
        return values


Property = Callable[[Engine, World, st.DataObject], None]
Law = Callable[[Property], None]


def _from(start: datetime, rows: Mapping[tuple[int, timedelta], int | None]) -> Rows:
    return {(key, start + place): value for (key, place), value in rows.items()}


class AsOfJoinLaws:
    """Laws of an `AsOfJoin`; give the fixtures `opened`, `examples` (how many) and `cases` (how many in each)."""

    @pytest.fixture
    def join(self, opened: Callable[[], AsOfJoin]) -> AsOfJoin:
        return opened()

    @pytest.fixture
    def law(self, join: AsOfJoin, examples: int, cases: int, tmp_path: Path) -> Law:
        """Runs a law over examples, each with an empty folder for its tables."""

        def run(body: Property) -> None:
            large = [HealthCheck.too_slow, HealthCheck.data_too_large]
            # To make a counter-example of many cases smaller takes thousands of calls: ask again with few cases for that.
            phases = [phase for phase in Phase if phase is not Phase.shrink or cases <= _MOST_TO_SHRINK]

            @settings(max_examples=examples, deadline=None, suppress_health_check=large, phases=phases)
            @given(world=worlds(cases), data=st.data())
            def property_(world: World, data: st.DataObject) -> None:
                with _tables(tmp_path / "example") as tables:
                    body(Engine(join, tables), world, data)

            property_()

        return run

    def test_laws_1_and_4_as_many_rows_and_the_same_as_in_plain_python(self, law: Law) -> None:
        @law
        def _(engine: Engine, world: World, _data: st.DataObject) -> None:
            what, asked = engine.lookup(world), world.requests()
            assert engine.answers(world, what) == _expected(asked, world.rows(), what, world.as_of)
            now = replace(what, timestamp_key=None, lookback=None)
            assert engine.answers(world, now) == _expected(asked, world.rows(), now, world.as_of)

    def test_law_4_of_dates_and_of_tables_without_time(self, law: Law) -> None:
        @law
        def _(engine: Engine, world: World, data: st.DataObject) -> None:
            stands: Any = data.draw(st.sampled_from(["end", "start"]))
            rows, asked = world.rows(_by_day, pa.date32()), world.requests()
            dated = engine.lookup(world, rows, date_stands_for=stands)
            assert engine.answers(world, dated) == _expected(asked, rows, dated, world.as_of)
            still = rows.group_by(["case", "k"]).aggregate([("v", "max")]).rename_columns(["case", "k", "v"])
            plain = lookup(engine.tables.make(still, keys=("case", "k"), time=None), defaults=world.defaults)
            assert engine.answers(world, plain) == _expected(asked, still, plain, world.as_of)

    def test_law_2_the_future_changes_nothing(self, law: Law) -> None:
        @law
        def _(engine: Engine, world: World, _data: st.DataObject) -> None:
            asked = world.requests()
            asked = asked.set_column(2, "t", pa.array([world.as_of] * len(asked), STAMP))
            changed = world.rows(lambda case: _with_another_future(case, world))
            before, after = engine.lookup(world), engine.lookup(world, changed)
            late = world.as_of + timedelta(days=30)
            assert engine.answers(world, before, late, asked) == engine.answers(world, after, late, asked)

    def test_law_3_order_and_files_change_nothing(self, law: Law) -> None:
        @law
        def _(engine: Engine, world: World, data: st.DataObject) -> None:
            asked, rows = world.requests(), world.rows()
            places = data.draw(st.permutations(range(len(asked))))
            turned = rows.take(pa.array(data.draw(st.permutations(range(len(rows)))), INT))
            whole = engine.answers(world, engine.lookup(world))
            other = engine.lookup(replace(world, commits=4 - world.commits), turned)
            again = engine.answers(world, other, asked=asked.take(pa.array(places, INT)))
            assert again == [whole[place] for place in places]

    def test_law_5_a_batch_written_twice_is_written_once(self, law: Law) -> None:
        @law
        def _(engine: Engine, world: World, _data: st.DataObject) -> None:
            once = engine.lookup(world)
            batch = world.rows(lambda case: case.other)
            written = engine.tables.merge(once.source, batch)
            answers = engine.answers(world, replace(once, source=written))
            assert engine.answers(world, replace(once, source=engine.tables.merge(written, batch))) == answers
            both = world.rows(lambda case: {**case.rows, **case.other})
            assert answers == _expected(world.requests(), both, once, world.as_of)

    def test_law_6_a_larger_lookback_never_makes_a_value_null(self, law: Law) -> None:
        @law
        def _(engine: Engine, world: World, data: st.DataObject) -> None:
            what = replace(engine.lookup(world), defaults={})
            window = data.draw(st.integers(0, 3)) * _STEP
            narrow = engine.answers(world, replace(what, lookback=window))
            for wider in (window + data.draw(st.sampled_from([timedelta(microseconds=1), _STEP])), None):
                for before, after in zip(narrow, engine.answers(world, replace(what, lookback=wider)), strict=True):
                    assert before is None or after == before

    def test_law_7_halves_equal_the_whole_and_a_second_lookup_changes_nothing(self, law: Law) -> None:
        @law
        def _(engine: Engine, world: World, data: st.DataObject) -> None:
            what, asked = engine.lookup(world), world.requests()
            whole = engine.answers(world, what)
            half = data.draw(st.integers(0, len(asked)))
            first, rest = (
                engine.answers(world, what, asked=part) for part in (asked.slice(0, half), asked.slice(half))
            )
            assert first + rest == whole
            second = replace(engine.lookup(world, world.rows(lambda case: case.other)), columns={"v": "w"}, defaults={})
            both = attach(engine.join, asked, [what, second], world.as_of)
            assert both.column_names == ["case", "k", "t", "v", "w"]
            assert both.select(["case", "k", "t"]).equals(asked)
            assert both.column("v").to_pylist() == whole


@contextmanager
def _tables(folder: Path) -> Iterator[FeatureTables]:
    folder.mkdir()
    try:
        yield FeatureTables(folder)
    finally:
        shutil.rmtree(folder)


def _expected(asked: pa.Table, rows: pa.Table, what: ResolvedLookup, as_of: datetime) -> list[Any]:
    stored = rows.to_pylist()
    return [find(request, stored, what, as_of)["v"] for request in asked.to_pylist()]


def _by_day(case: Case) -> dict[tuple[int, date], int | None]:
    return {(key, at.date()): value for (key, at), value in case.rows.items()}


def _with_another_future(case: Case, world: World) -> Rows:
    past = {key: value for key, value in case.rows.items() if key[1] + world.delay <= world.as_of}
    return past | {key: value for key, value in case.other.items() if key[1] + world.delay > world.as_of}
