from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from millrace.core.clock import ManualClock
from millrace.core.settings import Durability
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.capture.records import Record, read_payload
from millrace.serving.capture.segments import framed, read_segment, recover, sealed
from millrace.serving.types import Description
from millrace.testing.traffic import kept

CHURN = Description(
    "id/1/churn-1", "ml.logs.churn", "churn", 1, "churn-1", "ml.models.churn", "1", (), (("a", "double"),)
)
OTHER = Description(
    "id/2/churn-2", "ml.logs.churn", "churn", 2, "churn-2", "ml.models.churn", "2", (), (("a", "double"),)
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "capture"


@pytest.fixture
def log(root: Path, clock: ManualClock) -> Iterator[CaptureLog]:
    made = CaptureLog(root, "w0", clock, sync_s=0.01)
    yield made
    made.close()


def payloads(path: Path) -> list[Record | Description]:
    return [read_payload(payload) for payload in read_segment(path).payloads]


def ids(root: Path) -> list[str]:
    return [read.id for path in sealed(root) for read in payloads(path) if isinstance(read, Record)]


def numbered(number: int, description: Description = CHURN) -> bytes:
    return kept(description, str(number), [([], [float(number)], 1, None, [])])


def waits(until: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not until() and time.monotonic() < deadline:
        time.sleep(0.005)
    return until()


def test_what_was_written_is_read_in_order(log: CaptureLog, root: Path) -> None:
    assert all(log.write(numbered(number), CHURN) for number in range(3))
    assert sealed(root) == []
    log.seal()
    (segment,) = sealed(root)
    assert payloads(segment)[0] == CHURN
    assert ids(root) == ["0", "1", "2"]


def test_each_segment_describes_its_own_records_once(log: CaptureLog, root: Path) -> None:
    for _ in range(2):
        for description in (CHURN, OTHER, CHURN):
            log.write(numbered(0, description), description)
        log.seal()
    for path in sealed(root):
        assert [read.id if isinstance(read, Description) else read.description for read in payloads(path)] == [
            CHURN.id, CHURN.id, OTHER.id, OTHER.id, CHURN.id,
        ]  # fmt: skip


def test_nothing_written_leaves_no_segment(log: CaptureLog, root: Path) -> None:
    log.seal()
    log.close()
    assert list(root.iterdir()) == []


def test_segments_are_sealed_by_size(root: Path, clock: ManualClock) -> None:
    log = CaptureLog(root, "w0", clock, max_bytes=2000)
    for number in range(100):
        log.write(numbered(number), CHURN)
    log.close()
    assert len(sealed(root)) > 1
    assert all(path.stat().st_size < 3000 for path in sealed(root))
    assert sorted(map(int, ids(root))) == list(range(100))


def test_segments_are_sealed_by_age(root: Path, clock: ManualClock) -> None:
    log = CaptureLog(root, "w0", clock, max_age_s=0.0, sync_s=0.005)
    log.write(numbered(1), CHURN)
    assert waits(lambda: len(sealed(root)) == 1)
    log.close()


@pytest.mark.parametrize("durability", ["process", "buffered"])
def test_threads_tear_no_frames(root: Path, clock: ManualClock, durability: Durability) -> None:
    log = CaptureLog(root, "w0", clock, durability=durability, sync_s=0.001, max_bytes=5000)

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
    log.close()
    assert sorted(map(int, ids(root))) == [start + i for start in (0, 1000, 2000) for i in range(200)]


def test_sealed_while_others_are_being_sealed_nothing_is_left_behind(root: Path, clock: ManualClock) -> None:
    log = CaptureLog(root, "w0", clock, max_bytes=1, sync_s=0.001)
    for number in range(50):
        log.write(numbered(number), CHURN)
        log.seal()
        assert str(number) in ids(root)
    log.close()


def test_a_segment_of_a_dead_worker_is_drained_while_its_successor_writes(log: CaptureLog, root: Path) -> None:
    log.write(numbered(1), CHURN)
    log.seal()
    (segment,) = sealed(root)
    segment.rename(segment.with_suffix(".open"))  # nobody holds its lock any more
    log.write(numbered(2), CHURN)
    assert recover(root) == 1
    assert ids(root) == ["1"]
    log.seal()
    assert sorted(ids(root)) == ["1", "2"]


def test_buffered_records_are_on_disk_a_little_later(root: Path, clock: ManualClock) -> None:
    log = CaptureLog(root, "w0", clock, durability="buffered", sync_s=0.05)
    with log._syncing:
        assert log.write(numbered(1), CHURN)
        assert list(root.iterdir()) == []
    assert waits(lambda: log.state.written_bytes > 0)
    log.write(numbered(2), OTHER)
    log.close()
    assert ids(root) == ["1", "2"]


def test_the_durable_are_on_disk_when_they_are_kept_many_with_one_sync(
    root: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        steps: list[str] = []
        _record(monkeypatch, steps, "write", "fdatasync")
        log = CaptureLog(root, "w0", clock, durability="durable", sync_s=10.0)

        async def keep(number: int) -> None:
            assert await log.keep((numbered(number),), CHURN)
            steps.append("kept")

        await keep(0)
        assert steps == ["write", "fdatasync", "kept"]
        steps.clear()
        with log._syncing:
            waiting = [asyncio.create_task(keep(number)) for number in range(1, 9)]
            await asyncio.sleep(0.05)
            assert steps == ["write"] * 8
        await asyncio.gather(*waiting)
        assert steps == ["write"] * 8 + ["fdatasync"] + ["kept"] * 8
        log.close()
        assert ids(root) == [str(number) for number in range(9)]

    asyncio.run(story())


def test_what_the_disk_does_not_sync_is_not_said_to_be_kept(
    root: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        log = CaptureLog(root, "w0", clock, durability="durable")
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", _no_space)
            assert not await log.keep((numbered(1),), CHURN)
        assert log.state.dropped == 1
        assert await log.keep((numbered(2),), CHURN)
        log.close()
        assert "2" in ids(root)

    asyncio.run(story())


def test_the_others_do_not_wait_for_the_disk(root: Path, clock: ManualClock) -> None:
    async def story() -> None:
        for durability in get_args(Durability):
            log = CaptureLog(root, "w0", clock, durability=durability, sync_s=0.001)
            with log._syncing:
                keeping = asyncio.create_task(log.keep((numbered(1),), CHURN))
                await asyncio.sleep(0.02)
                assert keeping.done() == (durability != "durable")
            assert await keeping
            log.close()

    asyncio.run(story())


def test_over_the_quota_records_are_dropped_until_there_is_room(root: Path, clock: ManualClock) -> None:
    size = len(framed(numbered(1000)))
    log = CaptureLog(root, "w0", clock, quota_bytes=20 * size)
    kept_ones = [number for number in range(1000, 1100) if log.write(numbered(number), CHURN)]
    assert 10 < len(kept_ones) < 20
    assert log.state.dropped == 100 - len(kept_ones)
    log.seal()
    assert ids(root) == [str(number) for number in kept_ones]
    for path in sealed(root):
        path.unlink()
    assert waits(lambda: log.write(numbered(1), CHURN))
    log.close()


def test_the_quota_is_for_all_workers_and_for_what_was_there(root: Path, clock: ManualClock) -> None:
    root.mkdir()
    (root / "old.segment").write_bytes(bytes(5000))
    log = CaptureLog(root, "w0", clock, quota_bytes=5100)
    assert not log.write(numbered(1), CHURN)
    (root / "old.segment").unlink()
    assert waits(lambda: log.write(numbered(2), CHURN))
    (root / "others.segment").write_bytes(bytes(5000))
    assert waits(lambda: not log.write(numbered(3), CHURN))
    log.close()


@pytest.mark.parametrize("durability", ["process", "buffered"])
def test_a_full_disk_drops_the_record_and_tears_nothing(
    root: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    log = CaptureLog(root, "w0", clock, durability=durability, sync_s=0.001)
    steps = log.write(numbered(1), CHURN)
    log._sync()
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, frame: write(fd, frame[:5]))
        log.write(numbered(2), CHURN)
        log._sync()
        patched.setattr(os, "write", _no_space)
        log.write(numbered(3), CHURN)
        log._sync()
    assert log.write(numbered(4), CHURN)
    log.close()
    assert steps
    assert ids(root) == ["1", "4"]
    assert log.state.dropped == 2
    assert sum(len(read_segment(path).damaged) for path in sealed(root)) == 0


def test_a_disk_that_is_full_from_the_start_does_not_stop_serving(
    log: CaptureLog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", _no_space)
        assert not log.write(numbered(1), CHURN)
    assert log.write(numbered(2), CHURN)
    log.seal()
    assert ids(root) == ["2"]
    assert log.state.dropped == 1


def test_a_folder_that_is_gone_drops_and_ends_nothing(log: CaptureLog, root: Path) -> None:
    root.rmdir()
    assert not log.write(numbered(1), CHURN)
    root.mkdir()
    assert log.write(numbered(2), CHURN)
    log.seal()
    assert ids(root) == ["2"]


def test_a_process_out_of_files_is_looked_after_again_when_it_has_some(
    root: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = CaptureLog(root, "w0", clock, sync_s=0.001, quota_bytes=1 << 20, max_age_s=0.2)
    log.write(numbered(1), CHURN)
    looks: list[int] = []

    def scan(_: object) -> object:
        looks.append(1)
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scan)
        assert waits(lambda: len(looks) > 2)
    assert caplog.text.count("can't be looked after") == 1
    assert waits(lambda: ids(root) == ["1"])
    log.write(numbered(2), CHURN)
    assert waits(lambda: sorted(ids(root)) == ["1", "2"])
    log.close()


def test_who_waits_for_a_sync_is_told_whatever_ends_it(
    root: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_: object) -> None:
        raise RuntimeError("nobody has thought of this")

    async def story() -> None:
        log = CaptureLog(root, "w0", clock, durability="durable")
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", break_down)
            assert not await asyncio.wait_for(log.keep((numbered(1),), CHURN), 60)
        assert await asyncio.wait_for(log.keep((numbered(2),), CHURN), 60)
        log.close()
        assert log.state.dropped == 1

    asyncio.run(story())


def _record(monkeypatch: pytest.MonkeyPatch, steps: list[str], *names: str) -> None:
    """Have these calls of the operating system note when they are done."""

    def recorded(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object) -> object:
            result = call(*args)
            steps.append(name)
            return result

        return run

    for name in names:
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))


def _no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
