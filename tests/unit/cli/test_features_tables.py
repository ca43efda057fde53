from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.workspace import Workspace, open_workspace
from tests.unit.cli.conftest import Cli
from tests.unit.cli.spend import NAME, NOW, rows


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    opened = open_workspace(home)
    opened.clock.set(NOW)
    first = rows(("north", 1, 1.5), ("north", 7, 2.5), ("south", 7, 3.5))
    create_feature_table(
        opened.lake,
        NAME,
        first.schema,
        primary_keys="region",
        timeseries_column="ts",
        available_after=timedelta(hours=36),
        partition_columns=["region"],
        freshness=timedelta(days=2),
        description="Spend by region",
        owner="team:growth",
        tags={"team": "growth"},
        rows=first,
    )
    opened.clock.set(NOW + timedelta(hours=1))
    write_feature_rows(opened.lake, NAME, rows(("south", 7, 4.5), ("south", 8, 5.5)), "late rows")
    yield opened
    opened.close()


@pytest.mark.usefixtures("workspace")
class TestFeatureTables:
    def test_the_list_says_how_fresh_each_is(self, cli: Cli) -> None:
        (table,) = cli("features", "list", "--json").json()["feature_tables"]
        # Rows of the 8th can be seen 36 hours later, so those are the newest.
        assert table["freshness"] == {
            "verdict": "late",
            "newest": "2025-03-08T00:00:00Z",
            "age_s": 2 * 86400.0 + 3600,
            "expected_s": 2 * 86400.0,
        }
        assert (table["name"], table["primary_keys"], table["rows"]) == (NAME, ["region"], 4)
        said = cli("features", "list").out
        assert "late: 2 d 1 h old, 2 d expected" in said
        assert "team:growth" in said

    def test_a_table_is_shown_with_its_rules(self, cli: Cli) -> None:
        shown = cli("features", "show", NAME, "--json").json()
        assert shown["columns"] == {"region": "string", "ts": "timestamp[us, tz=UTC]", "spend": "double"}
        assert (shown["available_after_s"], shown["partition_columns"]) == (36 * 3600.0, ["region"])
        assert (shown["owner"], shown["tags"], shown["date_stands_for"]) == ("team:growth", {"team": "growth"}, "end")
        assert [version["rows"] for version in shown["versions"]] == [4, 3]
        said = cli("features", "show", NAME).out
        for words in ("1 d 12 h", "team=growth", "key, partition", "late rows", "Spend by region"):
            assert words in said

    def test_the_history_says_who_when_why_and_how_many(self, cli: Cli) -> None:
        newest, first = cli("features", "history", NAME, "--json").json()["versions"]
        assert (newest["version"], newest["operation"], newest["why"]) == (1, "MERGE", "late rows")
        assert (newest["inserted"], newest["updated"], newest["deleted"], newest["rows"]) == (1, 1, 0, 4)
        assert (newest["at"], first["at"]) == ("2025-03-10T01:00:00Z", "2025-03-10T00:00:00Z")
        assert (first["operation"], first["inserted"], first["rows"]) == ("WRITE", 3, 3)
        assert len(cli("features", "history", NAME, "--limit", 1, "--json").json()["versions"]) == 1
        assert "--limit is 0" in cli("features", "history", NAME, "--limit", 0).refused(2)

    def test_rows_are_deleted_by_the_keys_of_a_file(self, cli: Cli, tmp_path: Path, workspace: Workspace) -> None:
        times, all_times = tmp_path / "rows.csv", tmp_path / "gone.parquet"
        times.write_text("region,ts\nsouth,2025-03-07T00:00:00Z\nsouth,2025-03-07T00:00:01Z\n")
        done = cli("features", "delete", NAME, "--keys", times, "--why", "wrong", "--json").json()
        assert (done["version"], done["rows_deleted"]) == (2, 1)
        pq.write_table(pa.table({"region": ["north", "east"]}), all_times)
        assert "2 rows deleted" in cli("features", "delete", NAME, "--keys", all_times).out
        assert "0 rows deleted" in cli("features", "delete", NAME, "--keys", all_times).out
        assert workspace.lake.read(NAME).column("spend").to_pylist() == [5.5]
        assert cli("features", "history", NAME, "--json").json()["versions"][1]["why"] == "wrong"

    def test_what_is_no_key_deletes_nothing(self, cli: Cli, tmp_path: Path, workspace: Workspace) -> None:
        file = tmp_path / "keys.csv"
        for content, message in (
            ("spend\n1.5\n", "'spend' is not a key"),
            ("ts\n2025-03-07\n", "have no column 'region'"),
            ('region\nnorth\n""\n,\n', "expected 1"),
        ):
            file.write_text(content)
            assert message in cli("features", "delete", NAME, "--keys", file).refused()
        assert workspace.lake.rows(NAME) == 4

    def test_other_tables_are_not_feature_tables(self, cli: Cli, workspace: Workspace) -> None:
        workspace.lake.create("bronze.t", pa.schema({"id": pa.int64()}))
        for command in (("show",), ("history",)):
            assert "millrace table show bronze.t" in cli("features", *command, "bronze.t").refused()
        assert "did you mean 'ml.features.spend'" in cli("features", "show", "ml.features.spent").refused()
        assert [table["name"] for table in cli("features", "list", "--json").json()["feature_tables"]] == [NAME]


def test_an_empty_home_says_what_makes_feature_tables(cli: Cli, home: Path) -> None:
    open_workspace(home).close()
    assert "there are no feature tables yet" in cli("features", "list").out
