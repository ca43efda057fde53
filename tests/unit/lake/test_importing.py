from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, NotFound, UsageError
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.csv_file import CsvFile
from millrace.lake.importing import import_file, read_bytes
from millrace.lake.lake import Lake
from millrace.lake.sql_types import type_name
from millrace.lake.types import TableDefinition

Write = Callable[..., Path]
NAME = "bronze.t"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    clock = ManualClock(datetime(2025, 3, 1, tzinfo=UTC))
    engine = open_database(f"sqlite:///{tmp_path / 'millrace.db'}")
    return Lake(SqlCatalog(engine), DeltaTableStore(), clock, Principal("user", "ada"), str(tmp_path / "warehouse"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "file.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def types_of(schema: pa.Schema) -> dict[str, str]:
    return {field.name: type_name(field.type) for field in schema}


CSV = "id,amount,at,day,ok,name\n1,1.5,2024-01-31T06:00:00Z,2024-01-31,true,é\n2,,,,,\n"
ROWS = [
    {
        "id": 1,
        "amount": 1.5,
        "at": datetime(2024, 1, 31, 6, tzinfo=UTC),
        "day": date(2024, 1, 31),
        "ok": True,
        "name": "é",
    },
    {"id": 2, "amount": None, "at": None, "day": None, "ok": None, "name": None},
]
TYPES = {"id": "bigint", "amount": "double", "at": "timestamp", "day": "date", "ok": "boolean", "name": "string"}
JSONL = """{"id": 1, "amount": 1.5, "at": "2024-01-31T06:00:00Z", "day": "2024-01-31", "ok": true, "name": "é"}

{"id": 2, "amount": null}
"""


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (CSV, "f.csv"),
        (CSV.replace("\n", "\r\n"), "f.CSV"),
        (b"\xef\xbb\xbf" + CSV.encode(), "f.csv"),
        (CSV.rstrip("\n"), "f.csv"),
        (gzip.compress(CSV.encode(), mtime=0), "f.csv.gz"),
        (bz2.compress(CSV.encode()), "f.csv.bz2"),
        (JSONL, "f.jsonl"),
        (JSONL.replace("\n", "\r\n"), "f.ndjson"),
        (b"\xef\xbb\xbf" + JSONL.encode(), "f.json"),
        (gzip.compress(JSONL.encode(), mtime=0), "f.jsonl.gz"),
    ],
)
def test_a_file_becomes_a_table(lake: Lake, write: Write, content: str | bytes, name: str) -> None:
    result = import_file(lake, NAME, write(content, name))
    assert (result.rows, result.created, str(result.table_version)) == (2, True, "bronze.t@1")
    assert types_of(result.schema) == TYPES
    assert lake.read(NAME).sort_by("id").to_pylist() == ROWS
    assert lake.history(NAME)[-1].why == f"import {name}"


def test_a_parquet_file_keeps_its_types(lake: Lake, tmp_path: Path) -> None:
    rows = pa.table({"id": pa.array([1, 2], pa.int32()), "m": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2))})
    pyarrow.parquet.write_table(rows, tmp_path / "f.parquet")
    result = import_file(lake, NAME, tmp_path / "f.parquet")
    assert types_of(result.schema) == {"id": "int", "m": "decimal(9,2)"}
    assert lake.read(NAME).to_pylist() == rows.to_pylist()


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl"])
def test_types_can_be_asked_for(lake: Lake, write: Write, name: str) -> None:
    content = "id,m\n1,12.50\n2,3\n" if name == "f.csv" else '{"id": 1, "m": 12.50}\n{"id": 2, "m": 3}\n'
    result = import_file(lake, NAME, write(content, name), types={"m": "decimal(18,2)", "id": "INT"})
    assert types_of(result.schema) == {"id": "int", "m": "decimal(18,2)"}
    assert lake.read(NAME).column("m").to_pylist() == [Decimal("12.50"), Decimal("3.00")]


@pytest.mark.parametrize(
    ("values", "inferred"),
    [
        (["1", "-20"], "bigint"),
        (["007", "123"], "string"),
        (["12345678901234567890", "1"], "string"),
        (["1", "2.5"], "double"),
        (["1e3", ".5"], "double"),
        (["1", "NA"], "bigint"),
        (["NA", "US"], "string"),
        (["true", "FALSE"], "boolean"),
        (["0", "1"], "bigint"),
        (["2024-01-31", "1969-12-31"], "date"),
        (["2024-02-30", "2024-01-01"], "string"),
        (["2024-01-31 06:00", "2024-01-31T06:00:00.5+05:30"], "timestamp"),
        (["0x1F", "1"], "string"),
        (["", ""], "string"),
        (["a", "1"], "string"),
        (["1,5", "2"], "string"),
    ],
)
def test_a_type_is_what_every_value_has(lake: Lake, write: Write, values: list[str], inferred: str) -> None:
    content = "k,v\n" + "".join(f'x,"{value}"\n' if value else "x,\n" for value in values)
    assert types_of(import_file(lake, NAME, write(content)).schema)["v"] == inferred


def test_times_without_a_zone_are_utc(lake: Lake, write: Write) -> None:
    import_file(lake, NAME, write("at\n2024-01-31 06:00\n2024-01-31T06:00:00+05:30\n"))
    assert lake.read(NAME).column("at").to_pylist() == [
        datetime(2024, 1, 31, 6, tzinfo=UTC),
        datetime(2024, 1, 31, 0, 30, tzinfo=UTC),
    ]


def test_an_empty_field_is_null_and_empty_quotes_are_empty_text(lake: Lake, write: Write) -> None:
    import_file(lake, NAME, write('a,b\nx,\ny,""\n'))
    assert lake.read(NAME).column("b").to_pylist() == [None, ""]


def test_quoted_newlines_commas_and_quotes_are_values(lake: Lake, write: Write) -> None:
    import_file(lake, NAME, write('a,b\n"x\ny","1,5 ""m"""\n'))
    assert lake.read(NAME).to_pylist() == [{"a": "x\ny", "b": '1,5 "m"'}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a,b\n1,2\n3\n", "line 3: 1 fields, expected 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 fields, expected 2"),
        ('a,b\n"x\ny",2\n\n3,4,5\n', "line 5: 3 fields, expected 2"),
        ('a,b\n1,2\n3,"x\n5,6\n', "line 3: a quote is opened and never closed"),
        (b"a,b\n1,2\n\xff,4\n", "line 3: not UTF-8"),
        ("", "is empty"),
        ("\n \n", None),
        ("a,a\n1,2\n", "line 1: the column name 'a' is there twice"),
        ("a,\n1,2\n", "line 1: a column has no name"),
        ("a;b\n1;2\n", "separated by semicolons"),
        ("a\tb\n1\t2\n", "separated by tabs"),
        (" 00001 19970101  1   11.77\n 00002 19970112  1   12.00\n", "separated by spaces"),
        ("a,b\n", "has no rows, so the type of column 'a' is not known"),
        ("a,b", "has no rows"),
    ],
)
def test_a_broken_csv_is_refused_with_its_line(
    lake: Lake, write: Write, content: str | bytes, says: str | None
) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        import_file(lake, NAME, write(content))
    assert refused.value.hint
    assert not lake.exists(NAME)


def test_only_a_header_is_a_table_when_the_types_are_given(lake: Lake, write: Write) -> None:
    result = import_file(lake, NAME, write("a,b\n"), types={"a": "date", "b": "string"})
    assert (result.rows, lake.rows(NAME), types_of(lake.schema(NAME))) == (0, 0, {"a": "date", "b": "string"})
    assert import_file(lake, NAME, write("b,a\n")).rows == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a": 1}\n{"a": 2\n', "line 2: not JSON"),
        ('{"a": 1}\n\n[1, 2]\n', "line 3: not a JSON object"),
        ('[{"a": 1}]', "line 1: not a JSON object"),
        ('{"a": 1}\n{"a": "x"}\n', "line 2: \"x\" in column 'a' is not a number, as in the lines before"),
        ('{"a": null}\n{"a": true}\n{"a": 1}\n', "line 3: 1 in column 'a' is not true or false"),
        ('{"a": [1]}\n{"a": [2]}\n{"a": 5}\n', "line 3: 5 in column 'a'"),
        ('{"a": 9223372036854775808}\n', "line 1"),
        ("\n", "is empty"),
    ],
)
def test_broken_json_lines_are_refused_with_their_line(lake: Lake, write: Write, content: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says.replace("[", "\\[")) as refused:
        import_file(lake, NAME, write(content, "f.jsonl"))
    assert refused.value.hint
    assert not lake.exists(NAME)


def test_json_text_stays_text_but_for_dates_and_times(lake: Lake, write: Write) -> None:
    content = '{"n": "5", "d": "2024-01-31", "l": [1, 2], "o": {"x": 1}}\n{"n": "6", "extra": 1.5}\n'
    result = import_file(lake, NAME, write(content, "f.jsonl"))
    assert types_of(result.schema) == {
        "n": "string",
        "d": "date",
        "l": "array<bigint>",
        "o": "struct<x:bigint>",
        "extra": "double",
    }


class TestIntoATable:
    @pytest.fixture(autouse=True)
    def _table(self, lake: Lake) -> None:
        schema = pa.schema([("id", pa.int64()), ("code", pa.string()), ("m", pa.decimal128(9, 2))])
        lake.create(NAME, schema)
        lake.append(NAME, pa.table({"id": [1], "code": ["007"], "m": [Decimal(1)]}).cast(schema))

    def test_rows_are_added_in_the_tables_types(self, lake: Lake, write: Write) -> None:
        result = import_file(lake, NAME, write("m,id,code\n2.5,2,8\n"))
        assert (result.created, str(result.table_version)) == (False, "bronze.t@2")
        assert lake.read(NAME).sort_by("id").to_pylist()[1] == {"id": 2, "code": "8", "m": Decimal("2.50")}

    def test_rows_are_replaced_and_columns_with_them(self, lake: Lake, write: Write) -> None:
        import_file(lake, NAME, write("code,new\n9,2024-01-31\n"), mode="replace")
        assert lake.read(NAME).to_pylist() == [{"code": "9", "new": date(2024, 1, 31)}]

    @pytest.mark.parametrize(
        ("content", "name", "says"),
        [
            ("id,code\n1,a\n", "f.csv", "has no column 'm', which table bronze.t has"),
            ("id,code,m,x\n1,a,1,1\n", "f.csv", "has a column 'x', which table bronze.t lacks"),
            (
                "id,code,m\n1,a,1\n\n1.5,a,2\n",
                "f.csv",
                r"line 4: '1.5' in column 'id' is not a whole number \(bigint\)",
            ),
            ("id,code,m\n1,a,1\n2,a,abc\n", "f.csv", r"line 3: 'abc' in column 'm' is not a number \(decimal\(9,2\)\)"),
            ('id,code,m\n1,"a\nb",1\n2,a,1.555\n', "f.csv", r"line 4: '1.555' in column 'm'"),
            ("id,code,m\n1,a,1\n99999999999999999999,a,2\n", "f.csv", "line 3: '99999999999999999999'"),
            ('{"id": 1, "code": "a", "m": 1}\n{"id": "2"}\n', "f.jsonl", "line 2: \"2\" in column 'id' is not a whole"),
            ('{"id": 1, "code": 5, "m": 1}\n', "f.jsonl", "line 1: 5 in column 'code' is not text"),
            ('{"id": 1, "code": "a", "m": true}\n', "f.jsonl", "line 1: true in column 'm' is not a number"),
        ],
    )
    def test_what_does_not_fit_is_named_and_nothing_is_written(
        self, lake: Lake, write: Write, content: str, name: str, says: str
    ) -> None:
        with pytest.raises(InvalidInput, match=says) as refused:
            import_file(lake, NAME, write(content, name))
        assert refused.value.hint
        assert lake.pin(NAME).version == 1

    def test_a_parquet_column_of_another_type_is_refused(self, lake: Lake, tmp_path: Path) -> None:
        rows = pa.table({"id": [1], "code": [5], "m": pa.array([Decimal(1)], pa.decimal128(9, 2))})
        pyarrow.parquet.write_table(rows, tmp_path / "f.parquet")
        with pytest.raises(InvalidInput, match=r"table bronze\.t: column 'code' is bigint, the table stores string"):
            import_file(lake, NAME, tmp_path / "f.parquet")
        with pytest.raises(InvalidInput, match="can't become date"):
            import_file(lake, NAME, tmp_path / "f.parquet", types={"id": "date"})

    def test_a_table_with_keys_is_not_imported_into(self, lake: Lake, write: Write) -> None:
        lake.create("ml.features.f", pa.schema([("id", pa.int64())]), TableDefinition(primary_keys=("id",)))
        with pytest.raises(InvalidInput, match="has primary keys"):
            import_file(lake, "ml.features.f", write("id\n1\n"))


@pytest.mark.parametrize(
    ("name", "options", "refused"),
    [
        ("f.xlsx", {}, (InvalidInput, "does not say what it is")),
        ("noname", {}, (InvalidInput, "does not say what it is")),
        ("f.csv", {"mode": "upsert"}, (UsageError, "not an import mode")),
        ("f.csv", {"format": "xml"}, (UsageError, "not a file format")),
        ("f.csv", {"types": {"aa": "int"}}, (InvalidInput, "no column 'aa' to give a type")),
        ("f.csv", {"types": {"a": "money"}}, (InvalidInput, "'money' is not a column type")),
        ("f.parquet", {}, (InvalidInput, "is not a Parquet file")),
        ("f.csv.gz", {}, (InvalidInput, "can't be read")),
    ],
)
def test_wrong_calls_say_what_is_right(
    lake: Lake, write: Write, name: str, options: Mapping[str, str], refused: tuple[type[Exception], str]
) -> None:
    error, says = refused
    with pytest.raises(error, match=says):
        import_file(lake, NAME, write("a,b\n1,2\n", name), **options)  # type: ignore[arg-type]
    assert not lake.exists(NAME)


def test_a_missing_file_is_said(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        import_file(lake, NAME, tmp_path / "nope.csv")
    with pytest.raises(NotFound, match="directory"):
        import_file(lake, NAME, tmp_path)


def test_the_format_can_be_said(lake: Lake, write: Write) -> None:
    assert import_file(lake, NAME, write("a,b\n1,2\n", "export.txt"), format="csv").rows == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), st.integers()), max_size=8))
def test_what_pythons_csv_writes_is_read_back(rows: list[tuple[str, int]]) -> None:
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(["text", "number"])
    writer.writerows(rows)
    text = pa.string()
    found = CsvFile(out.getvalue().encode(), "f.csv").table({"text": text, "number": text}).to_pydict()
    assert found == {"text": [row[0] for row in rows], "number": [str(row[1]) for row in rows]}


def test_text_in_parquet_is_read_as_the_type_that_is_asked_for(lake: Lake, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"m": ["1.50", None, "x"]}), tmp_path / "f.parquet")
    with pytest.raises(InvalidInput, match=r"row 3: 'x' in column 'm' is not a number"):
        import_file(lake, NAME, tmp_path / "f.parquet", types={"m": "decimal(9,2)"})
    pyarrow.parquet.write_table(pa.table({"m": ["1.50", None]}), tmp_path / "f.parquet")
    import_file(lake, NAME, tmp_path / "f.parquet", types={"m": "decimal(9,2)"})
    assert lake.read(NAME).column("m").to_pylist() == [Decimal("1.50"), None]


def test_content_is_read_as_a_file_is_and_called_as_the_caller_says() -> None:
    read = read_bytes(b"id,n\n7,1\n8,\n", {"id": pa.string(), "other": pa.int8()}, format="csv", name="the body")
    assert read.to_pydict() == {"id": ["7", "8"], "n": [1, None]}
    assert read_bytes(b'{"a": 1}\n{"b": true}', {}, format="jsonl", name="x").to_pydict() == {
        "a": [1, None],
        "b": [None, True],
    }
    with pytest.raises(InvalidInput, match="the body, line 2: 'x' in column 'n' is not"):
        read_bytes(b"n\nx\n", {"n": pa.int64()}, format="csv", name="the body")
    with pytest.raises(InvalidInput, match="the body has no rows"):
        read_bytes(b"n\n", {}, format="csv", name="the body")
    with pytest.raises(UsageError, match="parquet is read from files"):
        read_bytes(b"", {}, format="parquet", name="the body")
