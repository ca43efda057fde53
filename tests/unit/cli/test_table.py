from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.cli.conftest import Cli

CSV = "customer_id,at,amount\n1,2025-03-01T10:00:00Z,10.50\n2,2025-03-02T11:00:00Z,20.25\n"
MONEY = ("--type", "amount=decimal(18,2)")


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "purchases.csv"
    file.write_text(CSV)
    return file


def test_a_file_is_imported_and_the_schema_shown(cli: Cli, csv: Path) -> None:
    done = cli("table", "import", "bronze.purchases", csv, *MONEY)
    assert done.code == 0
    assert "decimal128(18, 2)" in done.out
    assert "2 rows appended to bronze.purchases, now at version 1" in done.out
    again = cli("table", "import", "bronze.purchases", csv, "--json").json()
    assert again == {
        "table": "bronze.purchases",
        "version": 2,
        "rows": 2,
        "columns": {"customer_id": "int64", "at": "timestamp[us, tz=UTC]", "amount": "decimal128(18, 2)"},
    }
    replaced = cli("table", "import", "bronze.purchases", csv, "--replace")
    assert "2 rows replaced bronze.purchases, now at version 3" in replaced.out
    assert cli("table", "list", "--json").json()["tables"][0]["rows"] == 2


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "data"])
def test_other_kinds_of_files(cli: Cli, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"id": [1, 2]}), file)
    else:
        file.write_text('{"id": 1}\n{"id": 2}\n')
    more = ["--format", "jsonl"] if ending == "data" else []
    assert cli("table", "import", "t", file, "--json", *more).json()["rows"] == 2


def test_tables_are_listed_shown_and_previewed(cli: Cli, csv: Path) -> None:
    cli("table", "import", "bronze.purchases", csv, *MONEY)
    listed = cli("table", "list")
    assert "bronze.purchases" in listed.out
    assert cli("table", "list", "--json").json() == {
        "tables": [{"name": "bronze.purchases", "role": "table", "rows": 2, "description": ""}]
    }
    shown = cli("table", "show", "bronze.purchases")
    assert "size_bytes" in shown.out
    assert "decimal128(18, 2)" in shown.out
    facts = cli("table", "show", "bronze.purchases", "--json").json()
    assert (facts["rows"], facts["version"], len(facts["versions"])) == (2, 1, 2)
    assert facts["versions"][-1]["why"] == "import purchases.csv"
    previewed = cli("table", "preview", "bronze.purchases", "--rows", 1)
    assert "10.50" in previewed.out
    rows = cli("table", "preview", "bronze.purchases", "--json").json()["rows"]
    assert rows == [
        {"customer_id": 1, "at": "2025-03-01T10:00:00Z", "amount": "10.50"},
        {"customer_id": 2, "at": "2025-03-02T11:00:00Z", "amount": "20.25"},
    ]
    old = cli("table", "preview", "bronze.purchases", "--version", 0, "--json").json()
    assert (old["version"], old["rows"]) == (0, [])
    assert cli("table", "preview", "bronze.purchases", "--rows", 0, "--json").json()["rows"] == []


def test_a_home_without_tables_says_how_to_get_one(cli: Cli, home: Path) -> None:
    home.mkdir()
    assert "millrace table import NAME FILE" in cli("table", "list").out
    assert cli("table", "list", "--json").json() == {"tables": []}


def test_values_are_printed_as_they_are(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "odd.parquet"
    columns = {
        "when": pa.array([datetime(2025, 3, 1, tzinfo=UTC)]),
        "day": pa.array([datetime(2025, 3, 1, tzinfo=UTC).date()]),
        "money": pa.array([Decimal("0.10")]),
        "raw": pa.array([b"\x00\xff"]),
        "missing": pa.array([None], pa.string()),
        "text": ["[bold]not a style[/bold]"],
    }
    pq.write_table(pa.table(columns), file)
    cli("table", "import", "odd", file)
    (row,) = cli("table", "preview", "odd", "--json").json()["rows"]
    assert row == {
        "when": "2025-03-01T00:00:00Z",
        "day": "2025-03-01",
        "money": "0.10",
        "raw": "00ff",
        "missing": None,
        "text": "[bold]not a style[/bold]",
    }
    assert "[bold]not a style[/bold]" in cli("table", "preview", "odd").out


BAD = {
    "a broken row": ("customer_id,at,amount\n1,2025-03-01,1.0\n2,2025-03-02\n", "line 3"),
    "a value of another type": (
        "customer_id,at,amount\n1,2025-03-01T10:00:00Z,1.5\nx,2025-03-01T10:00:00Z,1.5\n",
        "line 3",
    ),
    "a missing column": ("customer_id,amount\n1,1.5\n", "has no column 'at'"),
    "an unknown column": ("customer_id,at,amount,more\n1,2025-03-01T10:00:00Z,1.5,2\n", "has a column 'more'"),
    "no rows": ("", "purchases"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_whole(cli: Cli, csv: Path, tmp_path: Path, case: str) -> None:
    cli("table", "import", "bronze.purchases", csv, *MONEY)
    text, message = BAD[case]
    bad = tmp_path / "purchases_bad.csv"
    bad.write_text(text)
    assert message in cli("table", "import", "bronze.purchases", bad).refused()
    assert cli("table", "list", "--json").json()["tables"][0]["rows"] == 2


def test_a_bad_first_file_leaves_no_table(cli: Cli, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,2\n3\n")
    assert "line 3" in cli("table", "import", "t", bad).refused()
    assert cli("table", "list", "--json").json() == {"tables": []}


def test_names_and_options_that_are_wrong(cli: Cli, csv: Path) -> None:
    cli("table", "import", "bronze.purchases", csv)
    said = cli("table", "show", "bronze.purchase").refused()
    assert "bronze.purchase does not exist" in said
    assert "bronze.purchases" in said.rpartition("hint:")[2]
    assert "no version 7" in cli("table", "preview", "bronze.purchases", "--version", 7).refused()
    assert "there is no file" in cli("table", "import", "t", "nowhere.csv").refused()
    cli("table", "show", "a.b.c.d").refused()
    assert "--rows is -1" in cli("table", "preview", "bronze.purchases", "--rows=-1").refused(2)
    assert "is not NAME=VALUE" in cli("table", "import", "t", csv, "--type", "amount").refused(2)
    assert "amonut" in cli("table", "import", "t", csv, "--type", "amonut=int").refused()
    cli("table", "import", "t", csv, "--type", "amount=money").refused()
    cli("table", "import", "t", csv, "--format", "xml").refused(2)
