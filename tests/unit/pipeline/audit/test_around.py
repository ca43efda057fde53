from __future__ import annotations

import csv
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest

from millrace.pipeline.audit.around import look_at, project_files
from millrace.pipeline.audit.watch import Watch


def lines(text: str) -> list[tuple[str, str]]:
    found = look_at(text, Path("page.py"))
    assert all(one.severity == "warning" and one.hint for one in found)
    return [(one.subject, one.fact) for one in found]


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("pd.read_csv('x.csv')", "pd.read_csv() reads a file around the lake"),
        ("DeltaTable(path).to_pyarrow_table()", "DeltaTable() reads a file around the lake"),
        ("open('x')", "open() reads a file around the lake"),
        (
            "spark.read.format('delta').load(path)",
            "spark.read.format.load() reads a path, which can't be cut at a time",
        ),
        (
            "mr.spark().read.option('a', 1).csv(p)",
            "mr.spark.read.option.csv() reads a path, which can't be cut at a time",
        ),
        ("requests.get(url)", "requests.get() asks a service or a database around the lake"),
        ("duckdb.sql('select 1')", "duckdb.sql() asks a service or a database around the lake"),
        ("datetime.now(UTC)", "datetime.now() asks the wall clock"),
        ("dt.datetime.now()", "dt.datetime.now() asks the wall clock"),
        ("F.rand(7)", "F.rand() differs from call to call"),
        ("open_workspace('/elsewhere')", "open_workspace() opens a home by its path, which the audit can't change"),
        ("mr.spark(home=HERE)", "mr.spark() opens a home by its path, which the audit can't change"),
    ],
)
def test_what_goes_around_the_lake_is_told_with_its_line(call: str, what: str) -> None:
    assert (("page.py:3", what)) in lines(f"def f():\n    a = 1\n    return {call}\n")


@pytest.mark.parametrize(
    "text",
    [
        "tx.groupBy('id').agg(F.sum('amount'), F.datediff(F.lit(as_of), F.max('at')))",
        "open_workspace().lake.read('bronze.t')",
        "mr.spark().table('bronze.t')",
        "mr.spark(as_of=t)",
        "open_workspace(None)",
        "if __name__ == '__main__':\n    open('x')",
        "frame.read",
        "this is not Python",
    ],
)
def test_what_stays_in_the_lake_is_not(text: str) -> None:
    assert lines(text) == []


def test_project_files_are_the_page_and_the_loaded_modules_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("page", "beside", "site-packages/installed", "unloaded"):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
        if name != "unloaded":
            module = ModuleType(name.rpartition("/")[2])
            module.__file__ = str(file)
            monkeypatch.setitem(sys.modules, f"audited_{module.__name__}", module)
    assert project_files(tmp_path / "page.py") == [tmp_path / "beside.py", tmp_path / "page.py"]


def test_files_and_hosts_are_heard_while_it_listens(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "rates.csv"
    home.mkdir()
    for file in (outside, home / "kept.csv", tmp_path / "code.py"):
        file.write_text("a\n")
    watch = Watch(home)
    outside.read_text()  # not yet
    assert watch.findings() == []
    with watch, outside.open() as opened, (home / "kept.csv").open(), (tmp_path / "code.py").open():
        assert list(csv.reader(opened)) == [["a"]]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("192.0.2.1", 9))  # an address for documentation; connecting a datagram socket sends nothing
    assert [(one.severity, one.subject) for one in watch.findings()] == [
        ("warning", str(outside)),
        ("warning", "192.0.2.1"),
    ]
