"""What every `Catalog` must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.core.errors import AlreadyExists, NotFound
from millrace.core.names import TableName
from millrace.lake.port import Catalog
from millrace.lake.types import Location, TableDefinition, TableEntry, TableId
from millrace.testing.race import race

_MADE = datetime(2025, 3, 1, 6, 0, 0, 123456, tzinfo=UTC)
_FULL = TableDefinition(
    description="Käufe, 100 %",
    tags={"team": "growth", "": "empty key"},
    primary_keys=("customer_id", "region"),
    timeseries_column="ts",
    available_after=timedelta(days=3, microseconds=7),
    date_stands_for="start",
    partition_columns=("region",),
    freshness=timedelta(hours=36),
    role="features",
    properties={"ratio": 1.0, "nested": {"list": [1, "two", None, True]}},
)


def entry(name: str, definition: TableDefinition = _FULL) -> TableEntry:
    """A catalog entry with an id that follows from its name."""
    parsed = TableName.parse(name)
    return TableEntry(
        TableId(f"id-{parsed.full}"), parsed, Location(f"/warehouse/{name}"), "user:ada", _MADE, _MADE, definition
    )


class CatalogSuite:
    """Tests of a `Catalog`; give the fixture `opened`."""

    def test_an_entry_reads_back_as_it_was_written(self, opened: Callable[[], Catalog]) -> None:
        full, plain = entry("ml.features.churn"), entry("bronze.sales", TableDefinition())
        opened().add(full)
        opened().add(plain)
        again = opened()
        assert again.get(full.name) == full
        assert again.find(plain.name) == plain
        assert type(again.get(full.name).definition.properties["ratio"]) is float

    def test_two_tables_can_not_share_a_name(self, opened: Callable[[], Catalog]) -> None:
        catalog = opened()
        catalog.add(entry("bronze.sales"))
        other = replace(entry("bronze.sales"), id=TableId("other"), owner="user:bob")
        with pytest.raises(AlreadyExists, match=r"bronze\.sales"):
            catalog.add(other)
        assert catalog.get(other.name).owner == "user:ada"

    def test_the_same_table_name_in_another_schema_is_another_table(self, opened: Callable[[], Catalog]) -> None:
        catalog = opened()
        for name in ("bronze.sales", "silver.sales", "ml.bronze.sales"):
            catalog.add(entry(name))
        assert catalog.get(TableName.parse("silver.sales")).id == "id-main.silver.sales"

    def test_an_unknown_name_is_not_found_and_the_nearest_is_named(self, opened: Callable[[], Catalog]) -> None:
        catalog, wrong = opened(), TableName.parse("bronze.transaction")
        catalog.add(entry("bronze.transactions"))
        assert catalog.find(wrong) is None
        for act in (catalog.get, catalog.remove, lambda name: catalog.update(entry(str(name)))):
            with pytest.raises(NotFound) as caught:
                act(wrong)
            assert caught.value.hint == "did you mean 'bronze.transactions'?"
            assert caught.value.facts["table"] == "bronze.transaction"

    def test_an_empty_catalog_says_so(self, opened: Callable[[], Catalog]) -> None:
        assert list(opened().list()) == []
        with pytest.raises(NotFound) as caught:
            opened().get(TableName.parse("sales"))
        assert caught.value.hint == "import it first: millrace table import default.sales FILE"

    def test_list_is_sorted_and_filtered(self, opened: Callable[[], Catalog]) -> None:
        catalog = opened()
        for name in ("ml.b.z", "ml.a.b_a", "ml.a.ba", "ml.a.B", "bronze.sales"):
            catalog.add(entry(name))
        assert [str(found.name) for found in catalog.list()] == [
            "bronze.sales",
            "ml.a.B",
            "ml.a.b_a",
            "ml.a.ba",
            "ml.b.z",
        ]
        assert [found.name.table for found in catalog.list("ml", "b")] == ["z"]
        assert [str(found.name) for found in catalog.list(schema="bronze")] == ["bronze.sales"]
        assert list(catalog.list("nowhere")) == []

    def test_update_replaces_the_entry_with_the_same_id(self, opened: Callable[[], Catalog]) -> None:
        catalog, made = opened(), entry("bronze.sales")
        catalog.add(made)
        changed = replace(
            made,
            name=TableName.parse("silver.sales"),
            updated_at=_MADE + timedelta(hours=1),
            definition=replace(_FULL, tags={}),
        )
        catalog.update(changed)
        assert opened().get(changed.name) == changed
        assert catalog.find(made.name) is None

    def test_update_can_not_take_the_name_of_another_table(self, opened: Callable[[], Catalog]) -> None:
        catalog = opened()
        catalog.add(entry("bronze.a"))
        catalog.add(entry("bronze.b"))
        with pytest.raises(AlreadyExists):
            catalog.update(replace(entry("bronze.a"), name=TableName.parse("bronze.b")))
        assert len(catalog.list()) == 2

    def test_a_removed_name_is_free_again(self, opened: Callable[[], Catalog]) -> None:
        catalog, made = opened(), entry("bronze.sales")
        catalog.add(made)
        catalog.remove(made.name)
        assert opened().find(made.name) is None
        catalog.add(made)

    def test_of_many_who_add_one_name_at_once_one_gets_it(self, opened: Callable[[], Catalog]) -> None:
        opened()

        def add(number: int) -> bool:
            try:
                opened().add(replace(entry("bronze.sales"), id=TableId(f"id-{number}")))
            except AlreadyExists:
                return False
            return True

        assert sum(race(4, add)) == 1
        assert len(opened().list()) == 1
