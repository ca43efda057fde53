from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from millrace.api import draining
from millrace.api.channel import Gone, ask
from millrace.api.doors import Door, knock
from millrace.api.drain_loop import Drains, attend
from millrace.api.draining import drain_there
from millrace.api.runtime import drain_channel
from millrace.api.workers import Workers
from millrace.core.errors import InvalidState
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.types import Description
from millrace.testing.traffic import kept
from millrace.workspace import Workspace, open_workspace

_MOVED = {"segments": 1, "requests": 5, "rows": 10, "held": 0, "aside": 0}


def test_a_drain_that_dies_is_asked_for_again(tmp_path: Path) -> None:
    heard = []

    def serve(listener: socket.socket) -> None:
        for answer in (b"", json.dumps(_MOVED).encode() + b"\n"):
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.makefile("rb").readline())
                connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(drain_channel(tmp_path)))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        assert drain_there(tmp_path) == _MOVED
        thread.join()
    assert [json.loads(line) for line in heard] == [{"do": "drain"}] * 2


def test_nobody_there_to_drain_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_REPLACED_S", 0.2)
    with pytest.raises(InvalidState, match="drain does not answer"):
        drain_there(tmp_path)


class _Sealing:
    """Workers that note how long they are given to seal, each time; some of them do not."""

    def __init__(self, *silent: str) -> None:
        self.silent, self.given_s = silent, list[float]()

    def seal(self, within_s: float) -> Sequence[str]:
        self.given_s.append(within_s)
        return self.silent


def drains(capture: Path, workers: _Sealing) -> Drains:
    return Drains(cast("Workspace", SimpleNamespace(capture_root=capture)), cast("Workers", workers))


def test_the_drain_knows_one_command(tmp_path: Path) -> None:
    with pytest.raises(InvalidState, match="does not know the command 'seal'"):
        asyncio.run(drains(tmp_path, _Sealing()).handle({"do": "seal"}))


@pytest.mark.parametrize(
    ("name", "looks"), [("w.open", 1), ("w.segment", 1), ("1.held", 1), ("drain.json", 0), ("1.aside", 0)]
)
def test_where_nothing_waits_nothing_is_loaded(tmp_path: Path, name: str, looks: int) -> None:
    (tmp_path / name).write_bytes(b"")
    workers = _Sealing()
    drains(tmp_path, workers).look()  # there is no lake: what fails is logged
    assert len(workers.given_s) == looks


@pytest.mark.parametrize(
    ("by_itself", "waits", "over"), [(True, False, True), (True, True, False), (False, True, True)]
)
def test_it_may_end_where_nothing_is_left_that_it_drains_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_itself: bool, waits: bool, over: bool
) -> None:
    monkeypatch.setattr("millrace.api.drain_loop._IDLE_S", 0.0)
    if waits:
        (tmp_path / "w.open").write_bytes(b"")
    workspace = cast("Workspace", SimpleNamespace(capture_root=tmp_path))
    made = Drains(workspace, cast("Workers", _Sealing()), by_itself=by_itself)
    assert asyncio.run(made.attendance.is_over()) == over


def test_a_drain_over_a_real_door_ends_and_leaves_who_comes_then_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.api.drain_loop.EVERY_S", 0.05)
    path = drain_channel(tmp_path)
    with closing(Door(path)) as door, closing(open_workspace(tmp_path)) as workspace:

        async def story() -> None:
            made = Drains(workspace, cast("Workers", _Sealing()))
            with socket.socket(fileno=os.dup(door.fileno())) as behind:
                attending = asyncio.create_task(attend(made, behind, asyncio.Event()))
                first = await asyncio.to_thread(ask, path, {"do": "drain"}, 60)
                assert (first["requests"], attending.done()) == (0, False)
                made.attendance._after_s = 0.3
                await asyncio.wait_for(attending, 60)

        asyncio.run(story())
        knock(path)
        assert door.somebody_waits()


def test_a_drain_that_dies_each_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def dies(*_: object) -> None:
        asked.append(1)
        threading.Event().wait(0.11)
        raise Gone("drain stopped while it was asked")

    monkeypatch.setattr(draining, "ask", dies)
    monkeypatch.setattr(draining, "_MOST_DEATHS", 2)
    with pytest.raises(InvalidState, match="stopped while"):
        drain_there(tmp_path)
    assert len(asked) == 3


def test_what_a_stalled_worker_keeps_is_told_and_the_rest_is_moved(tmp_path: Path) -> None:
    described = Description("d", "ml.logs.p", "churn", 1, "churn-3", "ml.models.churn", "3", (), (("x", "double"),))
    with closing(open_workspace(tmp_path)) as workspace:
        logs = [
            CaptureLog(workspace.capture_root, f"worker-{slot}", workspace.clock, max_age_s=3600.0) for slot in range(2)
        ]
        for log, request in zip(logs, ("moved", "kept"), strict=True):
            assert log.write(kept(described, request, [([], [1.5], 1, 0.75, [])]), described)
        logs[0].close()
        with pytest.raises(InvalidState, match=r"not all was drained: worker-1 .* 1 requests of others were moved"):
            Drains(workspace, cast("Workers", _Sealing("worker-1"))).drain()
        assert workspace.lake.read("ml.logs.p_predictions").column("request_id").to_pylist() == ["moved"]
        logs[1].close()
        assert Drains(workspace, cast("Workers", _Sealing())).drain()["requests"] == 1


def test_nobody_waits_for_a_worker_that_another_drain_waits_for(tmp_path: Path) -> None:
    """The look that comes by itself is short with a stalled worker, and holds up no drain that somebody asks for."""
    stalled, asked = threading.Event(), threading.Event()

    class _Stalls(_Sealing):
        def seal(self, within_s: float) -> Sequence[str]:
            if not stalled.is_set():
                stalled.set()
                assert asked.wait(60)
            return super().seal(within_s)

    workers = _Stalls()
    with closing(open_workspace(tmp_path)) as workspace:
        workspace.capture_root.mkdir(exist_ok=True)
        (workspace.capture_root / "w.open").write_bytes(b"")
        made = Drains(workspace, cast("Workers", workers))
        looking = threading.Thread(target=made.look)
        looking.start()
        assert stalled.wait(60)
        assert made.drain()["held"] == 0
        asked.set()
        looking.join()
    asked_s, looked_s = workers.given_s
    assert looked_s < asked_s < 60  # which is how long clients wait


def test_an_incomplete_look_is_a_warning_without_a_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(open_workspace(tmp_path)) as workspace:
        workspace.capture_root.mkdir(exist_ok=True)
        (workspace.capture_root / "w.open").write_bytes(b"")
        Drains(workspace, cast("Workers", _Sealing("worker-1"))).look()
    (record,) = [record for record in caplog.records if "worker-1" in record.getMessage()]
    assert (record.levelname, record.exc_info) == ("WARNING", None)
