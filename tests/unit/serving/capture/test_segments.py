from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.serving.capture.segments import (
    OpenSegment,
    bytes_in,
    framed,
    free_in,
    read_segment,
    recover,
    sealed,
    write_whole,
)

PAYLOADS = st.lists(st.binary(max_size=60), min_size=1, max_size=6)


def written(path: Path, payloads: list[bytes]) -> bytes:
    content = b"".join(map(framed, payloads))
    path.write_bytes(content)
    return content


def test_frames_are_read_in_order(tmp_path: Path) -> None:
    written(tmp_path / "s", [b"one", b"", b"three"])
    assert read_segment(tmp_path / "s").payloads == [b"one", b"", b"three"]


def test_an_empty_segment_has_nothing(tmp_path: Path) -> None:
    written(tmp_path / "s", [])
    contents = read_segment(tmp_path / "s")
    assert (contents.payloads, contents.damaged) == ([], [])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payloads=PAYLOADS, data=st.data())
def test_a_segment_cut_anywhere_gives_its_whole_frames(
    tmp_path: Path, payloads: list[bytes], data: st.DataObject
) -> None:
    content = written(tmp_path / "s", payloads)
    cut = data.draw(st.integers(0, len(content)))
    (tmp_path / "s").write_bytes(content[:cut])
    ends = [len(b"".join(map(framed, payloads[: number + 1]))) for number in range(len(payloads))]
    contents = read_segment(tmp_path / "s")
    assert contents.payloads == payloads[: sum(end <= cut for end in ends)]
    assert contents.damaged == []  # torn, not damaged: nobody was told that it is kept


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payloads=PAYLOADS, data=st.data())
def test_a_damaged_frame_hides_none_of_the_others(tmp_path: Path, payloads: list[bytes], data: st.DataObject) -> None:
    payloads = [*payloads, b"the last one"]
    content = bytearray(written(tmp_path / "s", payloads))
    which = data.draw(st.integers(0, len(payloads) - 2))
    first = len(b"".join(map(framed, payloads[:which])))
    length = len(framed(payloads[which]))
    content[first + data.draw(st.integers(0, length - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "s").write_bytes(content)
    contents = read_segment(tmp_path / "s")
    assert contents.payloads == payloads[:which] + payloads[which + 1 :]
    assert b"".join(contents.damaged) == bytes(content[first : first + length])


def test_a_damaged_length_does_not_take_the_next_frame_along(tmp_path: Path) -> None:
    content = bytearray(written(tmp_path / "s", [b"", bytes(8), bytes(2), b"the last one"]))
    content[len(framed(b"")) + 4] ^= 8 ^ 22  # as long as its payload, the next header and the next payload
    (tmp_path / "s").write_bytes(content)
    assert read_segment(tmp_path / "s").payloads == [b"", bytes(2), b"the last one"]


def test_a_damaged_last_frame_is_damaged_not_torn(tmp_path: Path) -> None:
    content = bytearray(written(tmp_path / "s", [b"one", b"two"]))
    content[-1] ^= 1
    (tmp_path / "s").write_bytes(content)
    contents = read_segment(tmp_path / "s")
    assert (contents.payloads, contents.damaged) == ([b"one"], [bytes(content[len(framed(b"one")) :])])


def test_a_file_of_another_format_is_one_damaged_stretch(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b'\x10\x00\x00\x00abcd{"description": 1}')
    contents = read_segment(tmp_path / "s")
    assert (contents.payloads, contents.damaged) == ([], [b'\x10\x00\x00\x00abcd{"description": 1}'])


def test_zeros_behind_the_last_frame_are_damage(tmp_path: Path) -> None:
    # A power cut may leave a file longer than what was written to it.
    content = written(tmp_path / "s", [b"one"])
    (tmp_path / "s").write_bytes(content + bytes(100))
    contents = read_segment(tmp_path / "s")
    assert (contents.payloads, contents.damaged) == ([b"one"], [bytes(100)])


def test_a_frame_inside_a_request_is_not_taken_for_one(tmp_path: Path) -> None:
    evil = b"request: " + framed(b"forged")
    content = bytearray(written(tmp_path / "s", [evil, b"two"]))
    content[16] ^= 1  # in the payload of the first, before the forged frame
    (tmp_path / "s").write_bytes(content)
    assert read_segment(tmp_path / "s").payloads == [b"two"]


def test_a_write_that_is_cut_short_leaves_whole_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = OpenSegment(tmp_path, "s")
    segment.append(framed(b"one"))
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, frames: write(fd, frames[:5]))
        with pytest.raises(OSError, match="no space"):
            segment.append(framed(b"two"))
    segment.append(framed(b"three"))
    segment.seal()
    contents = read_segment(tmp_path / "s.segment")
    assert (contents.payloads, contents.damaged) == ([b"one", b"three"], [])


def test_a_torn_frame_that_can_not_be_cut_away_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = OpenSegment(tmp_path, "s")
    segment.append(framed(b"one"))
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, frames: write(fd, frames[:5]))
        patched.setattr(os, "ftruncate", _refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="no space"):
                segment.append(framed(b"two"))
    segment.append(framed(b"three"))
    segment.seal()
    contents = read_segment(tmp_path / "s.segment")
    assert contents.payloads == [b"one", b"three"]
    assert b"".join(contents.damaged) == 2 * framed(b"two")[:5]


def test_a_living_writer_keeps_its_segment_and_a_dead_ones_is_sealed(tmp_path: Path) -> None:
    segment = OpenSegment(tmp_path, "a")
    segment.append(framed(b"one"))
    assert recover(tmp_path) == 0
    written(tmp_path / "b.open", [b"dead"])  # nobody holds its lock
    assert recover(tmp_path) == 1
    assert sealed(tmp_path) == [tmp_path / "b.segment"]
    segment.append(framed(b"two"))
    segment.seal()
    assert sealed(tmp_path) == [tmp_path / "a.segment", tmp_path / "b.segment"]
    assert read_segment(tmp_path / "a.segment").payloads == [b"one", b"two"]
    assert recover(tmp_path) == 0


def test_what_one_sync_lost_is_never_said_to_be_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = OpenSegment(tmp_path, "s")
    segment.append(framed(b"one"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _refuse)
        assert not segment.sync()
    assert not segment.sync()
    segment.append(framed(b"two"))
    assert not segment.seal()
    assert read_segment(tmp_path / "s.segment").payloads == [b"one", b"two"]


def test_a_segment_whose_closing_fails_is_sealed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = OpenSegment(tmp_path, "s")
    segment.append(framed(b"one"))
    assert segment.sync()
    with monkeypatch.context() as patched:
        patched.setattr(os, "close", _refuse)
        assert segment.seal()
    assert sealed(tmp_path) == [tmp_path / "s.segment"]


def test_files_that_somebody_died_over_before_they_had_their_name_are_deleted(tmp_path: Path) -> None:
    for name in ("w0.new", "drain.json.new", "young.new"):
        (tmp_path / name).write_bytes(b"half")
    for name in ("w0.new", "drain.json.new"):
        os.utime(tmp_path / name, (1e9, 1e9))
    assert recover(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["young.new"]


def test_all_files_of_the_folder_count(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.held", [b"12", b"345"])
    (tmp_path / "b.segment").write_bytes(bytes(7))
    assert bytes_in(tmp_path) == 12


@pytest.mark.parametrize(
    ("blocks", "free", "left"),
    [
        (1 << 30, 1 << 20, (1 << 32) - (64 << 20)),  # 4 TiB: 64 MB are for the drain
        (64, 32, (32 - 8) * 4096),  # 256 KiB: an eighth
        (64, 4, (4 - 8) * 4096),
    ],
)
def test_a_little_of_the_disk_is_left_to_the_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, free: int, left: int
) -> None:
    disk = SimpleNamespace(f_frsize=4096, f_blocks=blocks, f_bavail=free)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    assert free_in(tmp_path) == left


def _refuse(*_: object) -> None:
    raise OSError(5, "Input/output error")
