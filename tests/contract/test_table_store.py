"""What every table store must do; Delta is the one there is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.errors import AlreadyExists, InvalidInput, InvalidState, MillraceError, NotFound
from millrace.core.principal import Principal
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.port import TableStore
from millrace.lake.types import CommitInfo, Location, TableDefinition, Version

T0 = datetime(2025, 3, 1, 6, 0, 0, 123456, tzinfo=UTC)
PLAIN = TableDefinition()


def commit(hour: int = 0, transaction: tuple[str, int] | None = None, why: str = "a test") -> CommitInfo:
    return CommitInfo(T0 + timedelta(hours=hour), Principal("user", "ada"), why, transaction)


@pytest.fixture(params=[DeltaTableStore])
def store(request: pytest.FixtureRequest) -> TableStore:
    made: TableStore = request.param()
    return made


@pytest.fixture
def location(tmp_path: Path) -> Location:
    # A path as people have them.
    return Location(str(tmp_path / "My Häuser" / "main" / "bronze" / "t"))


def people(*ids: int | None, **columns: object) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), **columns})


def made(store: TableStore, location: Location, rows: pa.Table, definition: TableDefinition = PLAIN) -> Location:
    store.create(location, rows.schema, definition, commit())
    store.append(location, rows, commit())
    return location


def told(path: str) -> dict[str, bool]:
    """Of which columns a file says the smallest and the greatest value."""
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        columns = [group.column(place) for place in range(group.num_columns)]
    return {each.path_in_schema: each.is_stats_set or each.has_column_index for each in columns}


def rows_of(store: TableStore, location: Location, version: int | None = None) -> list[dict[str, object]]:
    table = store.read(location, None if version is None else Version(version))
    return sorted(table.to_pylist(), key=lambda row: str(row["id"]))


class TestCreate:
    def test_an_empty_table_has_the_schema_and_version_0(self, store: TableStore, location: Location) -> None:
        schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("m", pa.decimal128(18, 2))])
        assert store.create(location, schema, PLAIN, commit()) == 0
        assert store.schema(location) == schema
        assert store.rows(location) == 0
        assert store.files(location) == []
        assert store.size_bytes(location) == 0
        assert store.read(location).num_rows == 0

    def test_creating_again_after_an_interruption_does_nothing(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1))
        assert store.create(location, people(1).schema, PLAIN, commit()) == 1
        assert store.rows(location) == 1

    def test_an_interrupted_create_with_other_columns_is_replaced(self, store: TableStore, location: Location) -> None:
        store.create(location, pa.schema([("other", pa.string())]), PLAIN, commit())
        store.create(location, people(1).schema, PLAIN, commit())
        assert store.schema(location).names == ["id"]

    def test_another_table_with_rows_is_not_touched(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1))
        with pytest.raises(AlreadyExists):
            store.create(location, pa.schema([("other", pa.string())]), PLAIN, commit())
        assert store.rows(location) == 1

    @pytest.mark.parametrize("bad", ["%", "[", "|"])
    def test_a_path_that_cannot_be_read_back_is_refused(self, store: TableStore, tmp_path: Path, bad: str) -> None:
        with pytest.raises(InvalidInput, match="choose a home"):
            store.create(Location(str(tmp_path / f"a{bad}41" / "t")), people(1).schema, PLAIN, commit())

    def test_rows_may_come_with_the_table_in_one_commit(self, store: TableStore, location: Location) -> None:
        rows = people(1, 2, part=["a", "b"])
        assert store.create(location, rows.schema, TableDefinition(partition_columns=("part",)), commit(), rows) == 0
        assert [row["id"] for row in rows_of(store, location)] == [1, 2]
        assert (store.history(location)[0].at, store.history(location)[0].inserted) == (T0, 2)
        for again in (rows, None):
            with pytest.raises(AlreadyExists):
                store.create(location, rows.schema, PLAIN, commit(), again)
        assert store.version(location) == 0

    def test_an_unknown_location_is_not_found(self, store: TableStore, location: Location) -> None:
        for call in (store.version, store.read, store.files, store.rows, store.history, store.schema):
            with pytest.raises(NotFound):
                call(location)


class TestAppend:
    def test_types_come_back_as_they_went_in(self, store: TableStore, location: Location) -> None:
        rows = pa.table(
            {
                "id": pa.array([1, 2], pa.int64()),
                "small": pa.array([1, None], pa.int16()),
                "x": pa.array([0.1, float("inf")]),
                "flag": [True, None],
                "money": pa.array([Decimal("12.34"), None], pa.decimal128(18, 2)),
                "day": [date(1969, 12, 31), None],
                "at": pa.array([T0, None], pa.timestamp("us", tz="UTC")),
                "name": ["é", ""],
                "raw": [b"\x00", None],
                "many": [["a"], []],
            }
        )
        made(store, location, rows)
        found = store.read(location).sort_by("id")
        assert found.to_pylist() == rows.to_pylist()
        assert [field.type for field in found.schema] == [field.type for field in rows.schema]

    def test_rows_can_be_read_some_at_a_time(self, store: TableStore, location: Location) -> None:
        made(store, location, people(*range(40_000)))
        store.append(location, people(*range(40_000, 50_000)), commit())
        store.merge(location, people(7, 8), ["id"], commit())
        batches = list(store.batches(location, ["id"], pc.field("id") >= 5))
        assert max(len(batch) for batch in batches) < 20_000
        assert sorted(row["id"] for batch in batches for row in batch.to_pylist()) == list(range(5, 50_000))
        with pytest.raises(NotFound, match="nope"):
            list(store.batches(location, ["nope"]))

    def test_all_rows_are_read_some_at_a_time_and_are_those_of_a_read(
        self, store: TableStore, location: Location
    ) -> None:
        made(store, location, people(*range(5_000), name=pa.array(map(str, range(5_000)))))
        store.append(location, people(5_000, name=pa.array(["z"]), new=pa.array(["late"])), commit())
        store.merge(location, people(7, 8, name=pa.array(["x", None])), ["id"], commit())
        columns = ["new", "id", "name"]
        batches = list(store.batches(location, columns, batch_rows=300))
        assert max(len(batch) for batch in batches) <= 300
        expected = store.read(location, columns=columns).sort_by("id")
        found = pa.Table.from_batches(batches).sort_by("id")
        assert found.schema.equals(expected.schema)
        assert found.to_pylist() == expected.to_pylist()

    def test_times_are_microseconds_utc_whatever_they_come_as(self, store: TableStore, location: Location) -> None:
        made(store, location, people(0, at=pa.array([0], pa.timestamp("s"))))
        store.append(location, people(1, at=pa.array([1_000], pa.timestamp("ns"))), commit())
        store.append(location, people(2, at=pa.array([2], pa.timestamp("ms", tz="America/New_York"))), commit())
        assert store.schema(location).field("at").type == pa.timestamp("us", tz="UTC")
        micros = [pc.cast(pa.scalar(row["at"]), pa.int64()).as_py() for row in rows_of(store, location)]
        assert micros == [0, 1, 2_000]

    def test_nanoseconds_that_would_be_cut_are_refused(self, store: TableStore, location: Location) -> None:
        made(store, location, people(0, at=pa.array([0], pa.timestamp("us"))))
        with pytest.raises(InvalidInput, match="column 'at' has times finer than a microsecond"):
            store.append(location, people(1, at=pa.array([1], pa.timestamp("ns"))), commit())
        assert store.version(location) == 1

    @pytest.mark.parametrize(
        "text",
        [
            pa.array(["a"]).dictionary_encode(),
            pa.array(["a"], pa.large_string()),
            pa.array(["a"], pa.string_view()),
        ],
    )
    def test_every_kind_of_text_is_text(self, store: TableStore, location: Location, text: pa.Array) -> None:
        made(store, location, people(0, name=["b"]))
        store.append(location, people(1, name=text), commit())
        assert rows_of(store, location)[1]["name"] == "a"

    def test_a_smaller_number_type_fits_and_a_number_that_does_not_fit_is_refused(
        self, store: TableStore, location: Location
    ) -> None:
        made(store, location, pa.table({"id": pa.array([1], pa.int32()), "x": [0.5]}))
        store.append(location, pa.table({"id": pa.array([2], pa.uint8()), "x": pa.array([7], pa.int64())}), commit())
        assert rows_of(store, location) == [{"id": 1, "x": 0.5}, {"id": 2, "x": 7.0}]
        with pytest.raises(InvalidInput, match="column 'id' has values that do not fit int"):
            store.append(location, people(2**40, x=[1.0]), commit())

    @pytest.mark.parametrize(
        ("changed", "says"),
        [
            ({"money": ["1.50"]}, "column 'money' is string, the table stores decimal\\(18,2\\)"),
            ({"money": [1.5]}, "column 'money' is double"),
            ({"money": [Decimal("1.555")]}, "column 'money' has values that do not fit"),
            ({"id": ["1"]}, "column 'id' is string, the table stores bigint"),
            ({"id": [1.0]}, "column 'id' is double"),
            ({"ID": [1]}, "more than one column 'id'"),
            ({"new": [None]}, "column 'new' has no type"),
            ({"new": [timedelta(1)]}, "column 'new' is duration"),
        ],
    )
    def test_a_changed_type_is_refused_by_name_and_nothing_is_written(
        self, store: TableStore, location: Location, changed: Mapping[str, object], says: str
    ) -> None:
        made(store, location, people(0, money=pa.array([Decimal(1)], pa.decimal128(18, 2))))
        with pytest.raises(InvalidInput, match=says) as refused:
            store.append(location, pa.table({"id": [1], **changed}), commit())
        assert refused.value.hint
        assert store.version(location) == 1

    def test_new_columns_are_added_and_old_versions_stay(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, x=[0.5]))
        store.append(location, pa.table({"y": ["a"], "id": [2]}), commit())
        assert rows_of(store, location) == [{"id": 1, "x": 0.5, "y": None}, {"id": 2, "x": None, "y": "a"}]
        assert rows_of(store, location, 1) == [{"id": 1, "x": 0.5}]
        assert store.schema(location, Version(1)).names == ["id", "x"]
        assert store.rows(location, Version(1)) == 1

    def test_a_column_without_nulls_keeps_its_promise(self, store: TableStore, location: Location) -> None:
        schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("x", pa.float64())])
        store.create(location, schema, PLAIN, commit())
        for rows in (pa.table({"x": [1.0]}), people(None, x=[1.0])):
            with pytest.raises(InvalidInput, match="column 'id'"):
                store.append(location, rows, commit())
        store.append(location, people(1, x=[1.0], y=["new"]), commit())
        assert not store.schema(location).field("id").nullable

    def test_no_rows_are_no_commit(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1))
        assert store.append(location, people(), commit()) == 1
        assert store.merge(location, people(), ["id"], commit()) == 1

    def test_a_transaction_is_written_once(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1))
        first = store.append(location, people(2), commit(transaction=("capture", 7)))
        assert store.append(location, people(2), commit(transaction=("capture", 7))) == first
        assert store.append(location, people(2), commit(transaction=("capture", 6))) == first
        store.append(location, people(3), commit(transaction=("other", 1)))
        store.append(location, people(4), commit(transaction=("capture", 8)))
        assert [row["id"] for row in rows_of(store, location)] == [1, 2, 3, 4]


class TestMerge:
    def test_rows_are_replaced_by_key_or_added(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, 2, x=["a", "b"]))
        store.merge(location, people(3, 2, x=["C", "B"]), ["id"], commit())
        assert [row["x"] for row in rows_of(store, location)] == ["a", "B", "C"]

    def test_a_null_key_equals_a_null_key(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, None, x=["a", "b"]))
        store.merge(location, people(None, x=["B"]), ["id"], commit())
        assert [row["x"] for row in rows_of(store, location)] == ["a", "B"]

    def test_composite_keys_are_compared_column_by_column(self, store: TableStore, location: Location) -> None:
        made(store, location, pa.table({"id": ["1", "11"], "k": ["11", "1"], "x": [1, 2]}))
        store.merge(location, pa.table({"id": ["11"], "k": ["1"], "x": [20]}), ["id", "k"], commit())
        assert [row["x"] for row in rows_of(store, location)] == [1, 20]

    def test_columns_that_are_not_given_keep_their_values(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, x=["a"], y=[1]))
        store.merge(location, people(1, 2, y=[10, 20], **{"new one": [True, None]}), ["id"], commit())
        assert rows_of(store, location) == [
            {"id": 1, "x": "a", "y": 10, "new one": True},
            {"id": 2, "x": None, "y": 20, "new one": None},
        ]

    def test_two_rows_with_one_key_are_refused(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1))
        with pytest.raises(InvalidInput, match=r"2 keys are there more than once: \(7\), \(None\)") as refused:
            store.merge(location, people(7, None, 7, None, 8), ["id"], commit())
        assert refused.value.facts["duplicates"] == 2

    def test_a_missing_key_column_is_named(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1))
        with pytest.raises(InvalidInput, match="key column 'nope' is missing"):
            store.merge(location, people(1), ["nope"], commit())

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_merging_equals_updating_a_dict_and_twice_equals_once(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        batches = st.dictionaries(st.one_of(st.none(), st.integers(-2, 3)), st.integers(-5, 5), max_size=5)
        store, location = DeltaTableStore(), Location(str(tmp_path_factory.mktemp("laws") / "t"))
        schema = pa.schema([("id", pa.int64()), ("v", pa.int64())])
        store.create(location, schema, PLAIN, commit())
        expected: dict[int | None, int] = {}
        for batch in data.draw(st.lists(batches, max_size=4)):
            rows = pa.table({"id": list(batch), "v": list(batch.values())}, schema=schema)
            for _ in range(data.draw(st.integers(1, 2))):
                store.merge(location, rows, ["id"], commit())
            expected.update(batch)
        found = [(row["id"], row["v"]) for row in store.read(location).to_pylist()]
        assert sorted(found, key=str) == sorted(expected.items(), key=str)


class TestOverwriteAndDelete:
    def test_overwrite_replaces_rows_and_schema(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, x=["a"]))
        store.overwrite(location, pa.table({"id": ["k"], "z": [1.5]}), commit())
        assert rows_of(store, location) == [{"id": "k", "z": 1.5}]
        assert rows_of(store, location, 1) == [{"id": 1, "x": "a"}]

    def test_overwrite_with_no_rows_empties(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1))
        store.overwrite(location, people(), commit())
        assert store.rows(location) == 0

    def test_delete_takes_rows_by_predicate(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, 2, 3))
        store.delete(location, "id >= 2", commit())
        assert [row["id"] for row in rows_of(store, location)] == [1]
        assert store.rows(location) == 1

    def test_a_nan_is_neither_deleted_nor_missed_with_the_number_beside_it(
        self, store: TableStore, location: Location
    ) -> None:
        nan, half = float("nan"), pa.array([1.5, 1.5], pa.float32())
        made(store, location, people(1, 2, x=[1.5, nan], half=half))
        store.append(location, people(3, 4, x=[1.5, nan], half=half), commit())
        store.merge(location, people(4, 5, x=[nan, 1.5], new=[nan, 1.5]), ["id"], commit())
        x, new = pc.field("x"), pc.field("new")
        for where, ids in ((pc.is_nan(x), [2, 4]), (x != 1.5, [2, 4]), (x == 1.5, [1, 3, 5]), (pc.is_nan(new), [4])):
            assert sorted(store.read(location, where=where).column("id").to_pylist()) == ids
        store.delete(location, "x = 1.5", commit())
        assert [row["id"] for row in rows_of(store, location)] == [2, 4]
        store.overwrite(location, people(6, 7, x=[0.5, nan]), commit())
        store.overwrite(location, people(8, x=[0.5]), commit(), where="x = 0.5")
        assert [row["id"] for row in rows_of(store, location)] == [7, 8]

    def test_no_file_says_the_smallest_and_greatest_of_a_column_with_nan(
        self, store: TableStore, location: Location
    ) -> None:
        rows = people(1, 2, x=[1.5, float("nan")], inner=[{"y": 1.5}, {"y": float("nan")}])
        store.create(location, rows.schema, PLAIN, commit(), rows)
        store.delete(location, "id = 1", commit())
        for number in range(3, 45):
            store.append(location, people(number, number + 50, x=rows["x"], inner=rows["inner"]), commit())
        assert "compact" in [info.why for info in store.history(location)]
        for version in range(store.version(location) + 1):
            for path in store.files(location, Version(version)):
                assert told(path) == {"id": True, "x": False, "inner.y": False}, version

    def test_a_wrong_predicate_is_refused(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1))
        with pytest.raises(InvalidInput, match="nope"):
            store.delete(location, "nope = 1", commit())

    def test_rows_are_deleted_by_key_and_counted(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, 1, 2, 3, None, day=[1, 2, 1, 1, 1]))
        assert store.delete_keys(location, people(1, 1, None, 9), commit()) == (2, 3)
        assert [row["id"] for row in rows_of(store, location)] == [2, 3]
        assert store.delete_keys(location, people(2, day=[2]), commit()) == (2, 0)
        assert store.delete_keys(location, people(2, day=[1]), commit()) == (3, 1)
        assert store.delete_keys(location, people(), commit()) == (3, 0)
        with pytest.raises(InvalidInput, match="column 'id' is string"):
            store.delete_keys(location, pa.table({"id": ["3"]}), commit())
        assert store.rows(location) == 1

    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        there=st.sets(
            st.tuples(st.sampled_from(["", "1", "11", "a'b"]), st.sampled_from(["1", "11", "'"])), max_size=8
        ),
        gone=st.lists(st.tuples(st.sampled_from(["1", "11", "a'b"]), st.sampled_from(["1", "11", "'"])), max_size=6),
    )
    def test_deleting_by_key_equals_taking_out_of_a_set(
        self, tmp_path_factory: pytest.TempPathFactory, there: set[tuple[str, str]], gone: list[tuple[str, str]]
    ) -> None:
        def table(pairs: list[tuple[str, str]]) -> pa.Table:
            schema = pa.schema([("a", pa.string()), ("b", pa.string())])
            return pa.table([pa.array([pair[i] for pair in pairs], pa.string()) for i in (0, 1)], schema=schema)

        store, location = DeltaTableStore(), Location(str(tmp_path_factory.mktemp("laws") / "t"))
        rows = table(sorted(there))
        store.create(location, rows.schema, TableDefinition(partition_columns=("b",)), commit(), rows)
        _, deleted = store.delete_keys(location, table(gone), commit())
        left = {(row["a"], row["b"]) for row in store.read(location).to_pylist()}
        assert (left, deleted) == (there - set(gone), len(there & set(gone)))

    def test_remove_leaves_nothing_and_can_be_repeated(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1))
        store.remove(location)
        store.remove(location)
        assert list(Path(location).parent.iterdir()) == []


class TestReading:
    def test_history_says_when_by_the_clock_who_and_why(self, store: TableStore, location: Location) -> None:
        store.create(location, people().schema, PLAIN, commit(0, why="create"))
        store.append(location, people(1), commit(1, why="load"))
        store.merge(location, people(1), ["id"], commit(2, why="correct"))
        history = store.history(location)
        assert [(info.version, info.at, info.by, info.why) for info in history] == [
            (0, T0, "user:ada", "create"),
            (1, T0 + timedelta(hours=1), "user:ada", "load"),
            (2, T0 + timedelta(hours=2), "user:ada", "correct"),
        ]

    def test_history_says_how_many_rows_each_commit_touched(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, 2, x=[1, 1]))
        store.merge(location, people(2, 3, 4, x=[2, 2, 2]), ["id"], commit())
        store.delete_keys(location, people(1), commit())
        store.delete(location, "id > 2", commit())
        touched = [(info.operation, info.inserted, info.updated, info.deleted) for info in store.history(location)]
        assert touched[1:] == [
            ("WRITE", 2, None, None),
            ("MERGE", 2, 1, 0),
            ("DELETE", 0, 0, 1),
            ("DELETE", None, None, 2),
        ]

    def test_a_commit_of_somebody_else_has_no_clock_time(self, store: TableStore, location: Location) -> None:
        from deltalake import write_deltalake

        made(store, location, people(1))
        write_deltalake(location, people(2), mode="append")
        assert [info.at for info in store.history(location)] == [T0, T0, None]
        assert store.history(location)[2].by is None

    def test_columns_and_a_filter_are_pushed_down(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, 2, 3, x=["a", "b", "c"], y=[1, 2, 3]))
        found = store.read(location, columns=["x"], where=pc.field("y") >= 2)
        assert sorted(found.to_pydict()["x"]) == ["b", "c"]
        assert found.column_names == ["x"]

    def test_text_that_a_merge_wrote_can_be_filtered_by(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, 2, x=["a", "b"]))
        store.merge(location, people(2, 3, x=["c", "c"]), ["id"], commit())
        assert sorted(store.read(location, columns=["id"], where=pc.field("x") == "c").to_pydict()["id"]) == [2, 3]

    def test_a_merge_leaves_alone_what_has_a_value_already(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, 2, x=["a", None]))
        store.merge(location, people(1, 2, 3, x=["c", "d", "e"]), ["id"], commit(), unless="x")
        rows = store.read(location, columns=["id", "x"]).to_pylist()
        assert {row["id"]: row["x"] for row in rows} == {1: "a", 2: "d", 3: "e"}

    def test_an_unknown_column_or_version_is_not_found(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, amount=[1]))
        with pytest.raises(NotFound, match="did you mean 'amount'"):
            store.read(location, columns=["amuont"])
        with pytest.raises(NotFound, match="no version 9"):
            store.read(location, Version(9))

    def test_files_are_a_versions_rows(self, store: TableStore, location: Location) -> None:
        import duckdb

        made(store, location, people(1, 2))
        store.append(location, people(3), commit())
        store.delete(location, "id = 1", commit())
        for version, expected in ((1, [1, 2]), (2, [1, 2, 3]), (3, [2, 3])):
            files = store.files(location, Version(version))
            found = duckdb.read_parquet(list(files)).fetchall()
            assert sorted(row[0] for row in found) == expected
            assert store.rows(location, Version(version)) == len(expected)
        assert store.size_bytes(location) == sum(Path(file).stat().st_size for file in store.files(location))

    def test_partition_values_are_in_the_paths(self, store: TableStore, location: Location) -> None:
        import duckdb

        parts = ["a b", "c/d", "ü=1", "100%", None]
        rows = people(1, 2, 3, 4, 5, part=parts)
        made(store, location, rows, TableDefinition(partition_columns=("part",)))
        assert [row["part"] for row in rows_of(store, location)] == parts
        assert store.read(location, where=pc.field("part") == "c/d").to_pydict()["id"] == [2]
        files = list(store.files(location))
        found = duckdb.read_parquet(files, hive_partitioning=True).project("id, part").fetchall()
        assert sorted(found) == list(enumerate(parts, start=1))
        store.merge(location, people(2, part=["c/d"], x=["new"]), ["id"], commit())
        assert rows_of(store, location)[1] == {"id": 2, "part": "c/d", "x": "new"}

    @pytest.mark.parametrize(
        "parts",
        [
            pa.array(["it's", "b"]),
            pa.array([-1, 2**60], pa.int64()),
            pa.array([True, False]),
            pa.array([date(1969, 12, 31), date(2025, 1, 1)]),
        ],
        ids=lambda parts: str(parts.type),
    )
    def test_writers_of_different_partitions_do_not_collide(
        self, store: TableStore, location: Location, parts: pa.Array, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = people(1, 1, part=parts, x=[0, 0])
        store.create(location, rows.schema, TableDefinition(partition_columns=("part",)), commit(), rows)
        keys, opened = ["id", "part"], DeltaTableStore()._open_to_write(location)
        store.merge(location, people(1, part=parts.slice(0, 1), x=[1]), keys, commit())
        # The second one still sees the table as it was before the first one's commit, and has only one attempt.
        monkeypatch.setattr(store, "_open_to_write", lambda _: opened)
        monkeypatch.setattr("millrace.lake.adapters.delta._ATTEMPTS", 1)
        store.merge(location, people(1, 2, part=parts.take(pa.array([1, 1])), x=[2, 3]), keys, commit())
        monkeypatch.undo()
        found = store.read(location).sort_by([("id", "ascending"), ("x", "ascending")])
        assert found.select(["part", "x"]).to_pydict() == {
            "part": parts.take(pa.array([0, 1, 1])).to_pylist(),
            "x": [1, 2, 3],
        }

    def test_an_empty_text_is_no_partition(self, store: TableStore, location: Location) -> None:
        rows = people(1, part=["a"])
        made(store, location, rows, TableDefinition(partition_columns=("part",)))
        empty = people(2, part=[""])
        says = "'part' has an empty text"
        with pytest.raises(InvalidInput, match=says):
            store.append(location, empty, commit())
        with pytest.raises(InvalidInput, match=says):
            store.merge(location, empty, ["id"], commit())
        with pytest.raises(InvalidInput, match=says):
            store.overwrite(location, empty, commit())
        assert rows_of(store, location) == rows.to_pylist()

    def test_a_negative_decimal_is_no_partition(self, store: TableStore, location: Location) -> None:
        from decimal import Decimal

        def priced(price: str) -> pa.Table:
            return people(1, price=pa.array([Decimal(price)], pa.decimal128(10, 2)))

        made(store, location, priced("1.10"), TableDefinition(partition_columns=("price",)))
        for write in (store.append, store.overwrite):
            with pytest.raises(InvalidInput, match="'price' has a negative decimal"):
                write(location, priced("-1.10"), commit())
        with pytest.raises(InvalidInput, match="'price' has a negative decimal"):
            store.merge(location, priced("-1.10"), ["id"], commit())
        assert rows_of(store, location) == priced("1.10").to_pylist()

    def test_bytes_and_the_word_for_null_are_no_partitions(self, store: TableStore, location: Location) -> None:
        by_part = TableDefinition(partition_columns=("part",))
        rows = people(1, part=pa.array([b"a"], pa.binary()))
        with pytest.raises(InvalidInput, match="'part' is binary"):
            store.create(location, rows.schema, by_part, commit())
        with pytest.raises(InvalidInput, match="which stands for null"):
            made(store, location, people(1, part=["__HIVE_DEFAULT_PARTITION__"]), by_part)

    def test_a_partition_of_many_small_files_becomes_one(self, store: TableStore, location: Location) -> None:
        parts = ["it's", None]
        first = people(0, 1, part=parts)
        store.create(location, first.schema, TableDefinition(partition_columns=("part",)), commit(), first)
        for number in range(2, 40):
            store.merge(location, people(number, part=["it's"]), ["id"], commit())
        assert "compact" in [info.why for info in store.history(location)]
        assert len(store.files(location)) < 15
        expected = [{"id": 0, "part": "it's"}, {"id": 1, "part": None}]
        expected += [{"id": number, "part": "it's"} for number in range(2, 40)]
        assert store.read(location).sort_by("id").to_pylist() == expected

    def test_rows_are_counted_where_the_log_has_no_statistics(self, store: TableStore, location: Location) -> None:
        import json

        made(store, location, people(1, 2, 3))
        entry = Path(location) / "_delta_log" / f"{1:020}.json"
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            action.get("add", {}).pop("stats", None)
        entry.write_text("\n".join(map(json.dumps, actions)))
        assert store.rows(location) == 3

    def test_a_table_whose_files_are_not_its_rows_is_refused(self, store: TableStore, location: Location) -> None:
        from deltalake import DeltaTable, TableFeatures

        made(store, location, people(1))
        DeltaTable(location).alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
        for read in (store.files, store.read, store.rows):
            with pytest.raises(InvalidState, match="deletion vectors"):
                read(location)

    def test_folders_that_do_not_say_the_partition_are_refused(self, store: TableStore, location: Location) -> None:
        made(store, location, people(1, **{"a=b": ["x"]}), TableDefinition(partition_columns=("a=b",)))
        with pytest.raises(InvalidState, match="do not say the values of its partition column 'a=b'"):
            store.files(location)


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=12))
def test_any_column_name_is_stored_or_refused_clearly(name: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as root:
        store, location = DeltaTableStore(), Location(f"{root}/t")
        try:
            name.encode()
            rows = pa.table({"id": [1], name: ["a"]})
            made(store, location, rows)
            store.merge(location, pa.table({"id": [2], name: ["b"]}), [name], commit())
        except (MillraceError, UnicodeEncodeError):
            return
        assert sorted(store.read(location).column(name).to_pylist()) == ["a", "b"]
