"""When a worker has control and the drain start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from millrace.api import knocks
from millrace.api.knocks import Knocks
from millrace.api.runtime import control_socket, drain_channel, scheduler_door
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import Endpoint, EndpointConfig, EndpointName, EndpointState, ServedEntity
from millrace.workspace.serving_home import ServingHome

_T = datetime(2025, 3, 1, tzinfo=UTC)
_CHURN = Endpoint(
    name=EndpointName("churn"),
    id="1",
    generation=2,
    config=EndpointConfig((ServedEntity("churn-1", "ml.models.churn", "1"),), {"churn-1": 100}, None),
    plans=(),
    pending=None,
    state=EndpointState(ready=True, config_update="NOT_UPDATING", message=""),
    created_at=_T,
    updated_at=_T,
    owner="user:ada",
)


@dataclass
class _Worker:
    """What a worker serves, and what is stored; in place of both."""

    stored: Sequence[Endpoint] = (_CHURN,)
    serves: dict[str, int] = field(default_factory=lambda: {"churn": 2})
    waits: dict[str, str] = field(default_factory=dict)
    has_work: bool = False
    reads: int = 0
    written: int = 0

    def list(self) -> Sequence[Endpoint]:
        self.reads += 1
        return self.stored

    def served(self) -> dict[str, int]:
        return self.serves

    def waiting(self) -> dict[str, str]:
        return self.waits


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """At which doors was knocked."""
    found: list[str] = []
    monkeypatch.setattr(knocks, "knock", lambda path: found.append(path.stem))
    return found


def made(folder: Path, worker: _Worker, *, virtual: bool = False) -> Knocks:
    (folder / "capture").mkdir(exist_ok=True)
    home = SimpleNamespace(
        endpoints=worker,
        capture_root=folder / "capture",
        clock=SimpleNamespace(is_virtual=virtual),
        changes=lambda: worker.written,
        has_job_work=lambda: worker.has_work,
    )
    return Knocks(folder, cast("HotApp", worker), cast("ServingHome", home))


def test_where_there_is_nothing_to_do_nobody_is_disturbed(tmp_path: Path, heard: list[str]) -> None:
    looking = made(tmp_path, _Worker())
    looking.begin()
    for loaded in (False, True, True):
        looking.look(loaded=loaded)
    assert heard == []
    assert [door(tmp_path).stem for door in (control_socket, drain_channel, scheduler_door)] == [
        "control",
        "drain",
        "scheduler",
    ]


@pytest.mark.parametrize("name", ["w.open", "w.segment", "1.held"])
def test_what_was_captured_starts_the_drain(tmp_path: Path, heard: list[str], name: str) -> None:
    looking, virtual = made(tmp_path, _Worker()), made(tmp_path, _Worker(), virtual=True)
    for other in ("1.aside", "drain.json"):
        (tmp_path / "capture" / other).write_bytes(b"")
    looking.look(loaded=False)
    (tmp_path / "capture" / name).write_bytes(b"")
    virtual.look(loaded=False)  # where nothing is drained by itself
    assert heard == []
    looking.look(loaded=False)
    assert heard == ["drain"]


def test_an_update_that_was_left_in_its_middle_starts_control(tmp_path: Path, heard: list[str]) -> None:
    left = replace(_CHURN, state=replace(_CHURN.state, config_update="IN_PROGRESS"))
    looking = made(tmp_path, _Worker([left]))
    looking.look(loaded=False)  # the endpoints are not loaded yet: nothing is known
    assert heard == []
    looking.look(loaded=True)
    assert heard == ["control"]


def test_work_for_jobs_starts_the_scheduler_as_long_as_it_is_there(tmp_path: Path, heard: list[str]) -> None:
    worker = _Worker(has_work=True)
    looking = made(tmp_path, worker)
    for _ in range(2):
        looking.look(loaded=False)
    assert heard == ["scheduler", "scheduler"]
    worker.has_work = False
    looking.look(loaded=False)
    assert len(heard) == 3  # nothing was written: it is not read again
    worker.written = 1
    looking.look(loaded=False)
    assert (len(heard), worker.reads) == (3, 2)


@pytest.mark.parametrize("serves", [{}, {"churn": 1}, {"churn": 2, "gone": 1}])
def test_what_is_served_otherwise_than_stored_starts_control_when_it_lasts(
    tmp_path: Path, heard: list[str], serves: dict[str, int]
) -> None:
    worker = _Worker(serves=serves)
    looking = made(tmp_path, worker)
    looking.look(loaded=True)
    assert heard == []  # an update may be switching
    looking.look(loaded=True)
    assert heard == ["control"]
    worker.serves = {"churn": 2}
    looking.look(loaded=True)
    assert heard == ["control"]


def test_what_waits_when_a_worker_starts_starts_control_once(tmp_path: Path, heard: list[str]) -> None:
    looking = made(tmp_path, _Worker(serves={}, waits={"churn": "its environment is not there"}))
    looking.begin()
    looking.look(loaded=True)
    looking.look(loaded=True)
    assert heard == ["control"]


def test_a_look_that_fails_is_not_the_last(
    tmp_path: Path, heard: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = made(tmp_path, _Worker())
    (tmp_path / "capture" / "w.open").write_bytes(b"")
    looks = [OSError("away"), None]
    look = looking.look

    def fails_first(*, loaded: bool) -> None:
        error = looks.pop(0) if looks else None
        if error:
            raise error
        look(loaded=loaded)
        loop[0].call_soon_threadsafe(told.set)

    monkeypatch.setattr(looking, "look", fails_first)
    told, loop = asyncio.Event(), list[asyncio.AbstractEventLoop]()

    async def story() -> None:
        loop.append(asyncio.get_running_loop())
        running = asyncio.create_task(looking.run(asyncio.Event(), 0.01))
        await told.wait()
        running.cancel()

    asyncio.run(asyncio.wait_for(story(), 60))
    assert "looked again" in caplog.text
    assert heard == ["drain"]


class _Enough(BaseException):
    """Ends the looks."""


def test_an_outage_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, away = made(tmp_path, _Worker()), OSError("away")
    looks = [away, away, away, None, away, away, _Enough()]

    def look(**_: bool) -> None:
        error = looks.pop(0)
        if error:
            raise error

    monkeypatch.setattr(looking, "look", look)
    with pytest.raises(_Enough):
        asyncio.run(looking.run(asyncio.Event(), 0.001))
    assert caplog.text.count("looked again") == 2
