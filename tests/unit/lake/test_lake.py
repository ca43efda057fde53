from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import AlreadyExists, InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.lake.types import CommitInfo, TableDefinition
from millrace.testing.race import race

T0 = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = pa.schema([("id", pa.int64())])
ONE = pa.table({"id": [1]})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0)


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock) -> Lake:
    engine = open_database(f"sqlite:///{tmp_path / 'millrace.db'}")
    return Lake(SqlCatalog(engine), DeltaTableStore(), clock, Principal("user", "ada"), str(tmp_path / "warehouse"))


def test_a_created_table_is_in_the_catalog_under_every_spelling(lake: Lake, tmp_path: Path) -> None:
    entry = lake.create("transactions", SCHEMA, TableDefinition(description="raw"))
    assert entry.location == str(tmp_path / "warehouse" / "main" / "default" / "transactions")
    assert (entry.owner, entry.created_at, entry.definition.description) == ("user:ada", T0, "raw")
    for spelling in ("transactions", "default.transactions", "main.default.transactions", entry.name):
        assert lake.entry(spelling) == entry
        assert lake.exists(spelling)
    assert not lake.exists("bronze.transactions")
    with pytest.raises(AlreadyExists):
        lake.create("main.default.transactions", SCHEMA)


@pytest.mark.parametrize(
    "definition",
    [TableDefinition(primary_keys=("idd",)), TableDefinition(timeseries_column="idd"), TableDefinition(partition_columns=("idd",))],
)  # fmt: skip
def test_a_definition_names_columns_that_are_there(lake: Lake, definition: TableDefinition) -> None:
    with pytest.raises(InvalidInput, match="column 'idd' is not in the schema") as refused:
        lake.create("t", SCHEMA, definition)
    assert refused.value.hint == "did you mean 'id'?"
    assert not lake.exists("t")


def test_a_create_that_was_interrupted_is_finished_by_the_next(lake: Lake, clock: ManualClock) -> None:
    entry = lake.create("t", SCHEMA)
    lake.catalog.remove(entry.name)
    lake.create("t", pa.schema([("other", pa.string())]))
    assert lake.schema("t").names == ["other"]
    assert lake.pin("t", clock.now()).version == 0


def test_files_of_another_table_are_never_taken_over(lake: Lake) -> None:
    entry = lake.create("t", SCHEMA)
    lake.append("t", ONE)
    lake.catalog.remove(entry.name)
    for make in (lake.create, lake.ensure):
        made = make("t", pa.schema([("other", pa.string())]))
        assert made.location != entry.location
        assert lake.rows("t") == 0
        lake.drop("t")
    assert lake.store.rows(entry.location) == 1


def test_a_table_is_made_with_its_rows_or_not_at_all(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(lake.catalog), "add", lambda _, entry: killed(entry))
        with pytest.raises(KeyboardInterrupt):
            lake.create("t", SCHEMA, rows=ONE)
    assert not lake.exists("t")
    entry = lake.create("t", SCHEMA, rows=pa.concat_tables([ONE, ONE]), owner="team:growth")
    assert (lake.rows("t"), lake.pin("t").version, entry.owner) == (2, 0, "team:growth")


def test_of_many_who_make_one_table_with_rows_one_wins_with_its_own(lake: Lake) -> None:
    def make(number: int) -> int | None:
        try:
            lake.create("bronze.t", SCHEMA, rows=ONE.set_column(0, "id", pa.array([number])))
        except AlreadyExists:
            return None
        return number

    winners = [number for number in race(4, make) if number is not None]
    assert lake.read("bronze.t").column("id").to_pylist() == winners
    warehouse = Path(lake.entry("bronze.t").location).parent
    assert len(list(warehouse.iterdir())) == 1


def test_rows_are_deleted_by_key_in_one_commit(lake: Lake) -> None:
    lake.create("t", SCHEMA, rows=pa.concat_tables([ONE, ONE.set_column(0, "id", pa.array([2]))]))
    keys = ONE.select(["id"])
    assert lake.delete_keys("t", keys, "asked to") == (lake.pin("t"), 1)
    assert lake.delete_keys("t", keys) == (lake.pin("t"), 0)
    newest = lake.history("t")[-1]
    assert (newest.version, newest.operation, newest.why, newest.deleted) == (1, "DELETE", "asked to", 1)
    with pytest.raises(InvalidInput, match="there is no column 'idd'"):
        lake.delete_keys("t", keys.rename_columns(["idd"]))


def test_many_who_ensure_one_table_all_get_it(lake: Lake) -> None:
    entries = race(4, lambda _: lake.ensure("bronze.t", SCHEMA))
    assert len({entry.id for entry in entries}) == 1
    lake.append("bronze.t", ONE)
    assert lake.rows("bronze.t") == 1


def test_writes_carry_the_clocks_time_and_who_and_why(lake: Lake, clock: ManualClock) -> None:
    lake.create("t", SCHEMA)
    clock.advance(HOUR)
    assert str(lake.append("t", ONE, "load")) == "default.t@1"
    assert lake.merge("t", pa.table({"id": [1, 2]}), ["id"]).version == 2
    assert lake.delete("t", "id = 1").version == 3
    assert lake.overwrite("t", ONE).version == 4
    assert [(info.at, info.by, info.why) for info in lake.history("t")] == [
        (T0, "user:ada", "create"),
        (T0 + HOUR, "user:ada", "load"),
        (T0 + HOUR, "user:ada", "merge"),
        (T0 + HOUR, "user:ada", "delete"),
        (T0 + HOUR, "user:ada", "overwrite"),
    ]


class TestPin:
    @pytest.fixture(autouse=True)
    def _table(self, lake: Lake, clock: ManualClock) -> None:
        lake.create("t", SCHEMA)  # version 0 at T0, then one more each hour
        for _ in range(3):
            clock.advance(HOUR)
            lake.append("t", ONE)

    @pytest.mark.parametrize(
        ("as_of", "version"),
        [
            (T0, 0),
            (T0 + HOUR - timedelta(microseconds=1), 0),
            (T0 + HOUR, 1),
            ((T0 + HOUR).astimezone(tz=None), 1),
            (T0 + 9 * HOUR, 3),
            (None, 3),
        ],
    )
    def test_as_of_a_time_is_what_was_committed_by_then(self, lake: Lake, as_of: datetime | None, version: int) -> None:
        assert lake.pin("t", as_of).version == version
        assert lake.rows("t", version) == version

    def test_before_the_first_commit_there_is_nothing(self, lake: Lake) -> None:
        with pytest.raises(NotFound, match="had no version yet at 2025-02-28T23:59:59Z"):
            lake.pin("t", T0 - timedelta(seconds=1))

    def test_a_version_that_is_asked_for_wins(self, lake: Lake) -> None:
        name = TableName.parse("t")
        assert lake.pin("t", T0, {name: 2}).version == 2
        assert lake.pin("t", T0, {TableName.parse("other"): 2}).version == 0
        for wrong in (-1, 4):
            with pytest.raises(NotFound, match=f"no version {wrong}") as refused:
                lake.pin("t", versions={name: wrong})
            assert refused.value.hint == "its versions are 0 to 3"

    def test_a_foreign_commit_counts_with_the_one_before(self, lake: Lake, clock: ManualClock) -> None:
        from deltalake import write_deltalake

        write_deltalake(lake.entry("t").location, ONE, mode="append")
        clock.advance(HOUR)
        lake.append("t", ONE)
        assert lake.pin("t", T0 + 3 * HOUR).version == 4
        assert lake.pin("t", T0 + 4 * HOUR).version == 5


def test_a_transaction_happens_once(lake: Lake) -> None:
    lake.create("t", SCHEMA)
    for _ in range(2):
        assert lake.append("t", ONE, transaction=("drain", 1)).version == 1


def test_errors_name_the_table(lake: Lake) -> None:
    lake.create("bronze.t", SCHEMA)
    with pytest.raises(InvalidInput, match=r"^table bronze\.t: column 'id' is string") as refused:
        lake.append("bronze.t", pa.table({"id": ["a"]}))
    assert refused.value.facts["table"] == "bronze.t"
    with pytest.raises(NotFound, match=r"table bronze\.t: there is no version 7"):
        lake.read("bronze.t", 7)
    with pytest.raises(NotFound) as unknown:
        lake.read("bronze.tt")
    assert "bronze.t" in unknown.value.hint


def test_describe_changes_the_definition_and_its_time(lake: Lake, clock: ManualClock) -> None:
    entry = lake.create("t", SCHEMA)
    clock.advance(HOUR)
    lake.describe("t", tags={"tier": "gold"}, description="new")
    found = lake.entry("t")
    assert (found.id, found.created_at, found.updated_at) == (entry.id, T0, T0 + HOUR)
    assert (found.definition.tags, found.definition.description) == ({"tier": "gold"}, "new")


def test_drop_leaves_nothing_and_the_name_is_free(lake: Lake) -> None:
    location = Path(lake.create("t", SCHEMA).location)
    lake.append("t", ONE)
    lake.drop("t")
    assert not location.exists()
    with pytest.raises(NotFound):
        lake.drop("t")
    lake.create("t", pa.schema([("other", pa.string())]))
    assert lake.rows("t") == 0


def test_a_drop_that_was_interrupted_can_be_done_again(lake: Lake) -> None:
    entry = lake.create("t", SCHEMA)
    lake.store.remove(entry.location)
    lake.drop("t")
    assert not lake.exists("t")


def test_what_was_said_of_a_commit_is_kept_to_the_letter(lake: Lake) -> None:
    info = CommitInfo(T0, Principal("system", "x:y"), 'why "quoted"\nand more')
    entry = lake.create("t", SCHEMA)
    lake.store.append(entry.location, ONE, info)
    found = lake.history("t")[-1]
    assert (found.at, found.by, found.why) == (T0, "system:x:y", 'why "quoted"\nand more')
