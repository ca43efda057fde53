"""A new home's MLflow database is the same with and without one that was made before."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from millrace.database.mlflow import opening_mlflow, tell_mlflow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MILLRACE_CACHE", str(folder))
    return folder


def made(path: Path) -> Path:
    tell_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    url = f"sqlite:///{path / 'mlflow.db'}"
    with opening_mlflow(url):
        SqlAlchemyStore(url, (path / "artifacts").as_uri()).engine.dispose()
    return path / "mlflow.db"


def told(path: Path) -> tuple[list[tuple[object, ...]], dict[str, list[tuple[object, ...]]]]:
    """Tables and indexes, and all rows but the times of the default experiment."""
    with closing(sqlite3.connect(path)) as read:
        made = read.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        tables = [name for kind, name, *_ in made if kind == "table"]
        rows = {name: read.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
    rows["experiments"] = [(number, name, kept) for number, name, kept, *_ in rows["experiments"]]
    return made, rows


def test_a_copy_is_what_mlflow_makes(tmp_path: Path, cache: Path) -> None:
    first = told(made(tmp_path / "first"))
    (template,) = cache.glob("*.db")
    assert template.name.startswith("mlflow-")
    second = told(made(tmp_path / "second"))
    assert second[0] == first[0]
    assert first[1].pop("experiments") == [(0, "Default", f"{(tmp_path / 'first' / 'artifacts').as_uri()}/0")]
    assert second[1].pop("experiments") == [(0, "Default", f"{(tmp_path / 'second' / 'artifacts').as_uri()}/0")]
    assert second[1] == first[1]


def test_no_migration_is_made_where_there_is_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import command

    made(tmp_path / "first")
    monkeypatch.setattr(command, "upgrade", None)
    made(tmp_path / "second")
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path / "other"))
    with pytest.raises(TypeError):
        made(tmp_path / "third")


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_spoiled_template_is_not_taken(tmp_path: Path, cache: Path, content: bytes) -> None:
    first = told(made(tmp_path / "first"))
    (template,) = cache.glob("*.db")
    template.write_bytes(content)
    second = told(made(tmp_path / "second"))
    assert [entry[:3] for entry in second[0]] == [entry[:3] for entry in first[0]]  # constraints come in any order
    assert template.read_bytes() != content, "it is kept anew"
    assert [path.name for path in (tmp_path / "second").iterdir() if "part" in path.name] == []


@pytest.mark.parametrize("log", ["of another", "of itself"])
def test_a_log_that_an_older_database_left_is_not_taken_for_the_new_ones(tmp_path: Path, log: str) -> None:
    made(tmp_path / "first")
    path = made(tmp_path / "second")
    writer = sqlite3.connect(path)
    writer.execute("CREATE TABLE old (a)")
    if log == "of itself":
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.execute("CREATE TABLE older (a)")
    left = path.with_name("mlflow.db-wal").read_bytes()  # as after kill -9
    assert left
    writer.close()
    path.unlink()
    path.with_name("mlflow.db-wal").write_bytes(left)
    made(tmp_path / "second")
    with closing(sqlite3.connect(path)) as read:
        assert read.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert read.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'old%'").fetchone() == (0,)


def test_a_database_that_lies_elsewhere_stays_there(tmp_path: Path) -> None:
    made(tmp_path / "first")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mlflow.db").symlink_to(tmp_path / "elsewhere.db")
    made(tmp_path / "home")
    assert (tmp_path / "home" / "mlflow.db").is_symlink()
    assert told(tmp_path / "elsewhere.db")[1]["experiments"]


def test_without_a_place_for_a_cache_it_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", "~nobody of that name/own")
    assert told(made(tmp_path / "home"))[1]["experiments"]


def test_a_database_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    with opening_mlflow("sqlite:///:memory:"):
        pass
    assert not (tmp_path / ":memory:").exists()


def test_two_first_homes_at_once_leave_one_template(tmp_path: Path, cache: Path) -> None:
    program = "import sys; from pathlib import Path; from tests.integration.test_mlflow_template import made; made(Path(sys.argv[1]))"
    both = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path / name)], cwd=ROOT) for name in ("a", "b")]
    assert [each.wait(240) for each in both] == [0, 0]
    assert {path.suffix for path in cache.iterdir()} == {".db", ".lock"}
    assert told(made(tmp_path / "c"))[1]["experiments"]


def test_a_cache_that_is_a_file_is_done_without(tmp_path: Path, cache: Path) -> None:
    cache.write_text("")
    assert told(made(tmp_path / "home"))[1]["experiments"]
