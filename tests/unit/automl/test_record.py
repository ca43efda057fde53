"""What is written of a search, and how long that is believed to take."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar, cast

import pytest

from millrace.automl.record import child
from millrace.automl.record.log import RunLog
from millrace.automl.record.messages import Failed, Recorded
from millrace.automl.record.nested import NestedLog
from millrace.automl.record.recording import Recording
from millrace.automl.types import Dataset, Problem, Search, SplitPlan
from millrace.core.errors import InvalidState
from millrace.tracking.port import Tracking
from millrace.tracking.types import RunId
from millrace.training.types import Track
from millrace.workspace import open_workspace

Seen = TypeVar("Seen")
SKETCH = Search(
    "0-1",
    Problem("classification", "y", "log_loss", False, (0, 1)),
    Dataset("frame", 10, (), path="nowhere.parquet"),
    SplitPlan("stratified", 5),
    60.0,
    0,
    1,
)


def test_one_wait_for_the_disk_does_not_keep_time_back_for_all_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([0.05, 0.5, 0.01, 0.01])
    now = [0.0]
    monkeypatch.setattr(child, "rehearse", lambda _: now.__setitem__(0, now[0] + next(waits)))
    monkeypatch.setattr(child, "time", SimpleNamespace(monotonic=lambda: now[0]))
    assert child._rehearsed() == pytest.approx(0.01)
    assert next(waits, None) is None


def test_what_could_not_be_written_is_not_waited_for(tmp_path: Path) -> None:
    def full(*given: object) -> None:
        del given
        raise InvalidState("the disk is full")

    track = Track(tmp_path, cast("Tracking", SimpleNamespace(log_text=full)), "churn")
    log = NestedLog(track, RunId("1"), SKETCH)
    wait_for(lambda: log.left_s < 0.5)  # a guess for the importances
    for _ in range(5):
        log.importance(SKETCH)  # nothing to write, which is quick
    wait_for(lambda: log.left_s < 0.1)
    with pytest.raises(InvalidState, match="the disk is full"):
        log.close()


@pytest.mark.slow
def test_what_is_left_to_write_is_a_guess_until_it_was_tried(tmp_path: Path) -> None:
    with closing(open_workspace(tmp_path / "home")) as workspace:
        begun = time.monotonic()
        with closing(RunLog(workspace.home)) as log:
            left_s = log.left_s
            assert 6.0 - (time.monotonic() - begun) <= left_s <= 6.0
            log.begin("churn", SKETCH, notebooks=False)
            recorded = log.end(Failed())
            assert log.left_s < 5.0
        assert [run.status for run in workspace.tracking.list("churn")] == ["FAILED"]
        assert workspace.tracking.get(recorded.run_id).experiment == "churn"


@pytest.mark.slow
def test_a_process_that_ended_by_itself_is_told_of(tmp_path: Path) -> None:
    open_workspace(tmp_path / "home").close()
    with closing(RunLog(tmp_path / "home")) as log:
        os.kill(log._process.pid, signal.SIGKILL)
        with pytest.raises(InvalidState, match=r"ended by itself \(-9\)"):
            log.end(Failed())


@pytest.mark.slow
def test_what_it_said_last_is_told_too(tmp_path: Path) -> None:
    open_workspace(tmp_path / "home").close()
    with closing(RunLog(tmp_path / "home")) as log:
        log._say("nonsense")
        with pytest.raises(InvalidState, match="AssertionError"):
            log.end(Failed())


@pytest.mark.slow
def test_an_experiment_that_was_deleted_is_told_before_the_search_ends(tmp_path: Path) -> None:
    with closing(open_workspace(tmp_path / "home")) as workspace, closing(RunLog(workspace.home)) as log:
        workspace.tracking.start("churn", "first", {})
        client = workspace.tracking._client  # type: ignore[attr-defined]
        client.delete_experiment(client.get_experiment_by_name("churn").experiment_id)
        log.begin("churn", SKETCH, notebooks=False)
        with pytest.raises(InvalidState, match="was deleted"):
            wait_until_it_raises(log)


@pytest.mark.slow
def test_what_can_not_be_read_ends_the_process(tmp_path: Path) -> None:
    """Or it would go on when its parent is gone."""
    open_workspace(tmp_path / "home").close()
    with closing(RunLog(tmp_path / "home")) as log:
        log._channel.send_bytes(b"no pickle")
        with pytest.raises(InvalidState, match=r"ended by itself \(1\): .*UnpicklingError"):
            log.end(Failed())


def test_runs_that_could_not_be_written_are_told_where_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, said = threading.Event(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)

    def record() -> Recorded:
        goes_on.wait(60)
        raise InvalidState("the disk is full", hint="make room")

    recording = Recording(record)
    recording.wait_until(0.0)
    assert not recording.is_there
    goes_on.set()
    told = wait_for(said.getvalue)
    assert told == "the search's runs could not be written: the disk is full\n  hint: make room\n"
    with pytest.raises(InvalidState, match="the disk is full"):
        recording.wait()


def test_runs_that_could_not_be_written_in_time_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def record() -> Recorded:
        raise InvalidState("the disk is full")

    with pytest.raises(InvalidState, match="the disk is full"):
        Recording(record).wait_until(time.monotonic() + 60)
    assert not capsys.readouterr().err


def test_an_error_that_was_raised_is_not_told_as_well_by_a_thread_that_comes_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    goes_on, later, came = threading.Event(), threading.Event(), threading.Event()

    def record() -> Recorded:
        goes_on.wait(60)
        raise InvalidState("the disk is full")

    def held_up(self: Recording, recorded: Future[Recorded], tell: Callable[..., None] = Recording._tell) -> None:
        later.wait(60)
        tell(self, recorded)
        came.set()

    monkeypatch.setattr(Recording, "_tell", held_up)
    recording = Recording(record)
    goes_on.set()
    with pytest.raises(InvalidState, match="the disk is full"):
        recording.wait_until(time.monotonic() + 60)
    later.set()
    assert came.wait(60)
    assert not capsys.readouterr().err


def wait_for(look: Callable[[], Seen]) -> Seen:
    end = time.monotonic() + 60
    while not (seen := look()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return seen


def wait_until_it_raises(log: RunLog) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert log.left_s > 0
        time.sleep(0.05)
