from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, inspect, text

from millrace.core.errors import InvalidState, NewerHome, UsageError
from millrace.database import schema
from millrace.database.engine import open_database
from millrace.database.migrations import STEPS, migrate, version
from millrace.database.settings import HomeSettings
from millrace.database.version import NEWEST, VERSION_KEY


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'deep' / 'home' / 'millrace.db'}"


def reopened(url: str) -> Engine:
    engine = open_database(url)
    engine.dispose()
    return engine


def test_a_new_database_has_every_table_and_a_version(url: str) -> None:
    engine = reopened(url)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == set(schema.METADATA.tables)
        assert version(connection) == 1 + len(STEPS) == NEWEST
    engine.dispose()


def test_opening_again_keeps_what_is_there(url: str) -> None:
    HomeSettings(reopened(url)).set("key", "kept")
    assert HomeSettings(reopened(url)).get("key") == "kept"


def test_a_newer_home_is_refused_and_left_as_it_is(url: str) -> None:
    engine = reopened(url)
    HomeSettings(engine).set(VERSION_KEY, 999)
    with pytest.raises(NewerHome) as caught:
        open_database(url)
    assert caught.value.facts == {"found": 999, "known": 1 + len(STEPS)}
    assert "upgrade millrace" in caught.value.hint
    assert HomeSettings(engine).get(VERSION_KEY) == 999
    engine.dispose()


def _add_colour(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE tables ADD COLUMN colour TEXT"))


def _add_size(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE tables ADD COLUMN size BIGINT"))


def _columns(connection: Connection) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns("tables")}


def test_an_older_home_goes_through_the_steps_it_lacks_once(url: str) -> None:
    engine = reopened(url)
    for added, expected in [((_add_colour,), 1), ((_add_colour, _add_size), 2), ((_add_colour, _add_size), 2)]:
        with engine.begin() as connection:
            migrate(connection, (*STEPS, *added))
            assert version(connection) == 1 + len(STEPS) + expected
    with engine.connect() as connection:
        assert {"colour", "size"} <= _columns(connection)
    engine.dispose()


def test_a_step_that_fails_leaves_the_home_as_it_was(url: str) -> None:
    engine = reopened(url)

    def breaks(connection: Connection) -> None:
        _add_colour(connection)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"), engine.begin() as connection:
        migrate(connection, (*STEPS, breaks))
    with engine.connect() as connection:
        assert version(connection) == 1 + len(STEPS) == NEWEST
        assert "colour" not in _columns(connection)
    engine.dispose()


def test_an_in_memory_database_is_one_for_all_threads() -> None:
    engine = open_database("sqlite://")
    HomeSettings(engine).set("key", 1)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(HomeSettings(engine).get("key")))
    thread.start()
    thread.join()
    assert found == [1]
    engine.dispose()


def test_what_is_not_a_database_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "millrace.db"
    path.write_bytes(b"this is not a database, but it is long enough to be taken for one" * 20)
    with pytest.raises(InvalidState, match="not a database") as caught:
        open_database(f"sqlite:///{path}")
    assert "MILLRACE_DATABASE_URL" in caught.value.hint
    assert path.read_bytes().startswith(b"this is not a database")


def test_a_home_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidState, match="can't be opened"):
        open_database(f"sqlite:///{tmp_path / 'file' / 'millrace.db'}")


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/name", "oracle://host"])
def test_other_databases_are_refused_with_the_forms_that_work(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_database(url)
    assert "postgresql://" in caught.value.hint


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(InvalidState) as caught:
        open_database(f"postgresql://ada:secret@/millrace?host={tmp_path}")
    assert "secret" not in str(caught.value)
    assert str(tmp_path) in caught.value.message.replace("%2F", "/")
