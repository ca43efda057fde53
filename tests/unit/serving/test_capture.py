from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock
from millrace.serving.capture import CaptureLog, read_segment, recover, sealed
from millrace.serving.types import Description

CHURN = Description(
    "id/1/churn-1", "ml.logs.churn", "churn", 1, "churn-1", "ml.models.churn", "1", (), (("a", "double"),)
)
OTHER = Description(
    "id/2/churn-2", "ml.logs.churn", "churn", 2, "churn-2", "ml.models.churn", "2", (), (("a", "double"),)
)


@pytest.fixture
def log(tmp_path: Path, clock: ManualClock) -> Iterator[CaptureLog]:
    made = CaptureLog(tmp_path / "capture", "w0", clock, sync_s=0.01)
    yield made
    made.close()


def records(root: Path) -> list[Any]:
    return [payload for path in sealed(root) for payload in read_segment(path)]


def numbered(number: int, description: Description = CHURN) -> dict[str, object]:
    return {"description": description.id, "number": number}


def test_what_was_written_is_read_in_order(log: CaptureLog, tmp_path: Path) -> None:
    for number in range(3):
        log.write(numbered(number), CHURN)
    assert sealed(tmp_path / "capture") == []
    log.seal()
    first, *rest = records(tmp_path / "capture")
    assert first["description"]["table_prefix"] == "ml.logs.churn"
    assert [record["number"] for record in rest] == [0, 1, 2]


def test_each_segment_describes_its_own_records_once(log: CaptureLog, tmp_path: Path) -> None:
    for _ in range(2):
        for description in (CHURN, OTHER, CHURN):
            log.write(numbered(0, description), description)
        log.seal()
    for path in sealed(tmp_path / "capture"):
        described = [payload["description"] for payload in read_segment(path)]
        assert [entry["id"] if isinstance(entry, dict) else entry for entry in described] == [
            CHURN.id, CHURN.id, OTHER.id, OTHER.id, CHURN.id,
        ]  # fmt: skip


def test_nothing_written_leaves_no_segment(log: CaptureLog, tmp_path: Path) -> None:
    log.seal()
    log.close()
    assert list((tmp_path / "capture").iterdir()) == []


def test_segments_are_sealed_by_size(tmp_path: Path, clock: ManualClock) -> None:
    log = CaptureLog(tmp_path, "w0", clock, max_bytes=2000)
    for number in range(100):
        log.write(numbered(number), CHURN)
    log.close()
    assert len(sealed(tmp_path)) > 1
    assert all(path.stat().st_size < 2500 for path in sealed(tmp_path))
    assert sorted(payload["number"] for payload in records(tmp_path) if "number" in payload) == list(range(100))


def test_segments_are_sealed_by_age(tmp_path: Path, clock: ManualClock) -> None:
    log = CaptureLog(tmp_path, "w0", clock, max_age_s=0.0, sync_s=0.005)
    log.write(numbered(1), CHURN)
    deadline = time.monotonic() + 5
    while not sealed(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(sealed(tmp_path)) == 1
    log.close()


def test_threads_tear_no_frames(log: CaptureLog, tmp_path: Path) -> None:
    def write(start: int) -> None:
        for number in range(start, start + 200):
            log.write(numbered(number), CHURN)

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        log.seal()
    for thread in threads:
        thread.join()
    log.seal()
    numbers = [payload["number"] for payload in records(tmp_path / "capture") if "number" in payload]
    assert sorted(numbers) == [start + i for start in (0, 1000, 2000) for i in range(200)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_segment_cut_anywhere_gives_its_whole_frames(tmp_path: Path, clock: ManualClock, data: st.DataObject) -> None:
    root = tmp_path / "cut"
    log = CaptureLog(root, "w0", clock)
    ends = []
    for number in range(4):
        log.write(numbered(number), CHURN)
        ends.append(next(root.glob("*.open")).stat().st_size)
    log.close()
    (segment,) = sealed(root)
    content = segment.read_bytes()
    segment.unlink()
    cut = data.draw(st.integers(0, len(content)))
    torn = root / "torn"
    torn.write_bytes(content[:cut])
    numbers = [payload["number"] for payload in read_segment(torn) if "number" in payload]
    assert numbers == list(range(sum(end <= cut for end in ends)))


def test_a_damaged_frame_ends_the_reading(log: CaptureLog, tmp_path: Path) -> None:
    for number in range(3):
        log.write(numbered(number), CHURN)
    log.seal()
    (segment,) = sealed(tmp_path / "capture")
    content = bytearray(segment.read_bytes())
    content[-3] ^= 1
    segment.write_bytes(content)
    assert [payload["number"] for payload in read_segment(segment) if "number" in payload] == [0, 1]


def test_a_living_worker_keeps_its_segment(log: CaptureLog, tmp_path: Path) -> None:
    log.write(numbered(1), CHURN)
    assert recover(tmp_path / "capture") == 0
    log.write(numbered(2), CHURN)
    log.seal()
    assert [payload["number"] for payload in records(tmp_path / "capture") if "number" in payload] == [1, 2]


def test_a_dead_workers_segment_is_sealed(log: CaptureLog, tmp_path: Path) -> None:
    log.write(numbered(1), CHURN)
    log.seal()
    (segment,) = sealed(tmp_path / "capture")
    segment.rename(segment.with_suffix(".open"))  # nobody holds its lock any more
    assert recover(tmp_path / "capture") == 1
    assert sealed(tmp_path / "capture") == [segment]
    assert recover(tmp_path / "capture") == 0


def test_a_full_disk_drops_the_record_and_tears_nothing(
    log: CaptureLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write(numbered(1), CHURN)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, frame: write(fd, frame[:5]))
    log.write(numbered(2), CHURN)
    monkeypatch.setattr(os, "write", _no_space)
    log.write(numbered(3), CHURN)
    monkeypatch.undo()
    log.write(numbered(4), CHURN)
    log.seal()
    assert [payload["number"] for payload in records(tmp_path / "capture") if "number" in payload] == [1, 4]
    assert log.dropped == 2


def test_a_disk_that_is_full_from_the_start_does_not_stop_serving(
    log: CaptureLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", _no_space)
    log.write(numbered(1), CHURN)
    monkeypatch.undo()
    log.write(numbered(2), CHURN)
    log.seal()
    assert [payload["number"] for payload in records(tmp_path / "capture") if "number" in payload] == [2]
    assert log.dropped == 1


def _no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
