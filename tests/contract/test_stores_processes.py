"""The stores, used by several processes at the same moment: nothing is lost, and what is for one is had by one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog
from millrace.database.migrations import STEPS, version

_PROCESSES = 3
_TIMEOUT_S = 300.0

# Each process says that it is ready, and starts when it reads a line: they start together, whatever imports took.
_PREAMBLE = """
import json, sys
from datetime import UTC, datetime
from millrace.alerts.adapters.sql_episodes import SqlEpisodeStore
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog
from millrace.jobs.adapters.sql import SqlLeases
from millrace.testing.episodes import episode, notification
from millrace.testing.home import event
url, number = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
engine = open_database(url)
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def at_once(script: str, url: str) -> list[object]:
    """Run the script in several processes at once; the JSON that each wrote last."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _PREAMBLE + script, url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(_PROCESSES)
    ]
    try:
        for process in started:
            assert process.stdout
            process.stdout.readline()
        for process in started:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [process.communicate(timeout=_TIMEOUT_S) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * _PROCESSES, [errors for _, errors in ended]
    return [json.loads(output) for output, _ in ended]


@pytest.mark.slow
def test_processes_that_open_a_new_home_at_once_make_it_once(database_url: str) -> None:
    at_once("print(json.dumps(SqlEventLog(engine).append(event(number=number))))", database_url)
    engine = open_database(database_url)
    with engine.connect() as connection:
        assert version(connection) == 1 + len(STEPS)
    assert sorted(str(found.data["number"]) for found in SqlEventLog(engine).read()) == ["0", "1", "2"]
    engine.dispose()


@pytest.mark.slow
def test_events_of_all_processes_are_in_the_log(database_url: str, engine: Engine) -> None:
    script = "print(json.dumps([SqlEventLog(engine).append(event(number=number, step=step)) for step in range(25)]))"
    cursors = at_once(script, database_url)
    found = SqlEventLog(engine).read()
    assert {(one.data["number"], one.data["step"]) for one in found} == {
        (number, step) for number in range(_PROCESSES) for step in range(25)
    }
    for number, mine in enumerate(cursors):
        assert [one.cursor for one in found if one.data["number"] == number] == mine


@pytest.mark.slow
def test_a_lease_is_had_by_one_process(database_url: str, engine: Engine) -> None:
    del engine
    script = "print(json.dumps([SqlLeases(engine).acquire(f'lease-{n}', f'h{number}', 3600) for n in range(20)]))"
    taken = at_once(script, database_url)
    assert [sum(winners) for winners in zip(*taken, strict=True)] == [1] * 20


@pytest.mark.slow
def test_one_episode_is_opened_by_all_processes_together(database_url: str, engine: Engine) -> None:
    del engine
    script = """
store = SqlEpisodeStore(engine)
opened = [store.open(episode(subject=f"s{n}"), notification(f"{number}-{n}")).id for n in range(10)]
print(json.dumps([opened, len(store.list()), len(store.posted())]))
"""
    results = at_once(script, database_url)
    opened = [result[0] for result in results]  # type: ignore[index]
    assert opened[0] == opened[1] == opened[2]
    assert len(set(opened[0])) == 10
    counts = [result[1:] for result in results]  # type: ignore[index]
    assert max(counts) == [10, 10]


@pytest.mark.slow
def test_many_new_files_opened_at_once_are_all_opened(tmp_path: Path) -> None:
    # SQLite itself refuses one of two who prepare a new file at the same moment.
    script = """
for n in range(25):
    open_database(f"{url}{n}").dispose()
print(json.dumps(n))
"""
    assert at_once(script, f"sqlite:///{tmp_path / 'new.db'}") == [24] * _PROCESSES
