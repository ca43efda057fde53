from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from millrace.cli import init as init_module
from millrace.cli.main import main
from millrace.core.errors import LawBroken
from millrace.database.engine import open_database
from millrace.database.schema import settings
from millrace.database.version import VERSION_KEY
from tests.unit.cli.conftest import Cli

READING = (
    ("table", "list"),
    ("table", "show", "t"),
    ("table", "preview", "t"),
    ("status",),
    ("log",),
    ("endpoint", "list"),
    ("rollback",),
)


def test_help_names_every_command(cli: Cli) -> None:
    said = cli("--help")
    assert said.code == 0
    for name in ("quickstart", "init", "run", "plan", "up", "status", "log", "rollback", "table", "endpoint"):
        assert name in said.out
    assert "--home" in cli("run", "--help").out
    assert cli("--version").out.strip() == "0.1.0"


@pytest.mark.parametrize(
    "arguments",
    [
        ("sttaus",),
        ("table", "lst"),
        ("status", "--hom", "x"),
        ("table", "show"),
        ("table", "preview", "t", "--rows", "many"),
        ("up", "--port", "http"),
        ("run", "a.py", "b.py"),
    ],
)
def test_a_mistyped_command_line_is_a_usage_error(cli: Cli, arguments: tuple[str, ...]) -> None:
    cli(*arguments).refused(2)


def test_an_argument_that_is_no_text_is_a_usage_error(cli: Cli) -> None:
    assert "the argument 'night\\udcff' is not UTF-8" in cli("job", "show", "night\udcff").refused(2)


def test_the_nearest_command_is_named(cli: Cli) -> None:
    assert '"status"' in cli("sttaus").err


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_makes_no_home(cli: Cli, home: Path, arguments: tuple[str, ...]) -> None:
    assert f"there is no millrace home at {home}" in cli(*arguments).refused()
    assert not home.exists()


@pytest.mark.parametrize("arguments", [*READING, ("table", "import", "t", "rows.csv")], ids=" ".join)
def test_a_home_from_a_newer_version_is_left_alone(
    cli: Cli, home: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    home.mkdir()
    engine = open_database(f"sqlite:///{home / 'millrace.db'}")
    with engine.begin() as connection:
        connection.execute(update(settings).where(settings.c.key == VERSION_KEY).values(value=99))
    engine.dispose()
    before = (home / "millrace.db").read_bytes()
    assert "schema version 99" in cli(*arguments).refused()
    assert (home / "millrace.db").read_bytes() == before


def test_a_home_that_can_not_be_made(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "rows.csv").write_text("a\n1\n")
    said = cli("table", "import", "t", "rows.csv", "--home", tmp_path / "file" / "home").refused()
    assert "can't be made" in said


def test_settings_that_are_wrong(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_THREADS", "many")
    assert "MILLRACE_THREADS is 'many'" in cli("status").refused(2)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RuntimeError("not thought of"), 70, "this is a bug in millrace"),
        (LawBroken("a law did not hold", hint="please report this"), 70, "a law did not hold"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (BrokenPipeError("a server went away"), 70, "a server went away"),
    ],
)
def test_what_no_command_expects(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(_: str) -> Path:
        raise error

    monkeypatch.setattr(init_module, "Path", fail)
    done = cli("init", "shop")
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_a_reader_that_goes_away_is_no_error(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    home.mkdir()
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with os.fdopen(writing, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert main(["status", "--json", "--home", str(home)]) == 0
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            output.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
