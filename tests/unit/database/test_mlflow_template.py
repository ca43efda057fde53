"""A new home's MLflow database is the same with and without one that was made before."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from millrace.database.mlflow import opening_mlflow, tell_mlflow


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
    (template,) = cache.iterdir()
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
    (template,) = cache.iterdir()
    template.write_bytes(content)
    second = told(made(tmp_path / "second"))
    assert [entry[:3] for entry in second[0]] == [entry[:3] for entry in first[0]]  # constraints come in any order
    assert template.read_bytes() != content, "it is kept anew"
    assert [path.name for path in (tmp_path / "second").iterdir() if "part" in path.name] == []


def test_a_cache_that_is_a_file_is_done_without(tmp_path: Path, cache: Path) -> None:
    cache.write_text("")
    assert told(made(tmp_path / "home"))[1]["experiments"]
