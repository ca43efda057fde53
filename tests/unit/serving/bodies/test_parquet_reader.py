"""The process that reads Parquet, from the worker's side: what hostile bytes do to it, and when it is there."""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import InvalidInput
from millrace.core.processes import is_alive
from millrace.serving.bodies.arrow_body import read_arrow_stream
from millrace.serving.bodies.body import NotNow, TooLarge
from millrace.serving.bodies.parquet import reader as parquet_reader
from millrace.serving.bodies.parquet.reader import ParquetReader
from tests.unit.serving.bodies import parquet_bytes as pb
from tests.unit.serving.bodies import thrift_bytes as th

MOST = 16 << 20
PATIENCE_S = 60.0
_WORKER = """
import os, sys
from millrace.serving.bodies.parquet.reader import READER, read_parquet

rows = read_parquet(sys.stdin.buffer.read()).rows
print(rows.matrix(["b", "a"]).tolist(), "pyarrow" in sys.modules, READER.pid, flush=True)
os._exit(0)  # as if it were killed
"""


class Hours:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture(name="hours")
def _hours() -> Hours:
    return Hours()


@pytest.fixture(name="reader")
def _reader(hours: Hours) -> Iterator[ParquetReader]:
    made = ParquetReader(hours)
    yield made
    hours.s += 1e9
    made.rest()


def parquet(**columns: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


GOOD = parquet(a=[1.5, None], b=[1, 2])
ENDS_IT = th.file(th.items([th.element(b"all", 1), *[th.element(b"x", 1)] * 100_000, th.element(b"a")]))


def read(reader: ParquetReader, raw: bytes = GOOD) -> list[object]:
    return [*read_arrow_stream(reader.as_arrow_stream(raw, MOST)).rows.records(None)]


ROWS = [{"a": 1.5, "b": 1}, {"a": None, "b": 2}]


def running(reader: ParquetReader) -> int:
    assert read(reader) == ROWS
    assert reader.pid is not None
    return reader.pid


def is_gone(pid: int) -> bool:
    until = time.monotonic() + PATIENCE_S
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_alive(pid)


def test_a_worker_reads_numbers_without_pyarrow_and_the_process_ends_when_the_worker_does() -> None:
    done = subprocess.run([sys.executable, "-c", _WORKER], input=GOOD, capture_output=True, check=True)
    told, _, pid = done.stdout.decode().strip().rpartition(" ")
    assert told == "[[1.0, 1.5], [2.0, nan]] False"
    assert is_gone(int(pid))


def test_all_files_are_read_by_one_process_until_one_of_them_ends_it(reader: ParquetReader) -> None:
    pid = running(reader)
    with pytest.raises(InvalidInput, match="not a Parquet file that can be read"):
        reader.as_arrow_stream(b"PAR1" * 9, MOST)
    with pytest.raises(TooLarge):  # so much that it has not the memory
        reader.as_arrow_stream(pb.written(pa.table({"a": ["x" * (200 << 20)]}), use_dictionary=False), MOST)
    assert running(reader) == pid
    with pytest.raises(InvalidInput, match="not a Parquet file that can be read"):
        reader.as_arrow_stream(ENDS_IT, MOST)
    assert running(reader) != pid


def test_what_takes_long_is_ended(reader: ParquetReader) -> None:
    """Columns that share thousands of pages, each of two values, and of 8 MB once it is unpacked."""
    pid, pages = running(reader), 10_000
    page = pb.data_page(bytes(8 << 20), 2, pb.PLAIN)
    raw, began = pb.paged(pb.FLOAT, [page] * pages, columns=12, values=2 * pages), os.times()
    assert len(raw) < MOST
    with pytest.raises(TooLarge):
        reader.as_arrow_stream(raw, MOST)
    ended = os.times()
    assert ended.children_user + ended.children_system - began.children_user - began.children_system < 10
    assert running(reader) != pid


def test_one_that_was_killed_is_replaced(reader: ParquetReader) -> None:
    pid = running(reader)
    os.kill(pid, signal.SIGKILL)
    assert is_gone(pid)
    assert running(reader) != pid


def test_one_that_is_killed_over_a_good_body_says_nothing_of_it(reader: ParquetReader) -> None:
    pid = running(reader)
    os.kill(pid, signal.SIGSTOP)  # so that it is there when it is asked
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(read, reader)
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        assert asked.result(PATIENCE_S) == ROWS
    assert reader.pid not in {pid, None}


def test_signals_to_all_processes_of_a_terminal_are_for_the_worker(reader: ParquetReader) -> None:
    pid = running(reader)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
    assert running(reader) == pid


def test_where_no_file_may_be_opened_it_is_to_be_tried_again(
    reader: ParquetReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(socket, "socketpair", none)
    with pytest.raises(NotNow, match="no process can be started"):
        reader.as_arrow_stream(GOOD, MOST)
    monkeypatch.undo()
    assert read(reader) == ROWS


def test_one_that_stands_still_is_not_waited_for(reader: ParquetReader, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = running(reader)
    monkeypatch.setattr(parquet_reader, "_ANSWER_S", 0.5)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(NotNow, match="stands still"):
        reader.as_arrow_stream(GOOD, MOST)
    monkeypatch.undo()
    assert running(reader) != pid
    assert not is_alive(pid)


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python"])
def test_one_that_does_not_start_is_told_of(
    reader: ParquetReader, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", program)
        with pytest.raises(NotNow, match="be started"):
            reader.as_arrow_stream(GOOD, MOST)
    assert read(reader) == ROWS


def test_it_ends_when_nobody_needs_it(reader: ParquetReader, hours: Hours) -> None:
    reader.rest()
    pid = running(reader)
    hours.s += 29
    reader.rest()
    assert running(reader) == pid
    hours.s += 31
    reader.rest()
    assert (reader.pid, is_alive(pid)) == (None, False)
    assert read(reader) == ROWS


def test_many_at_once_get_their_own(reader: ParquetReader) -> None:
    bodies = [parquet(a=[float(each)]) for each in range(200)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda raw: read(reader, raw), bodies))
    assert answers == [[{"a": float(each)}] for each in range(200)]


def test_hostile_bytes_are_not_read_where_passwords_are(reader: ParquetReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATABASE_URL", "postgresql://ada:planted77@host/db")
    pid = running(reader)
    assert b"planted77" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_text_that_is_no_text_is_refused(reader: ParquetReader) -> None:
    raw = pb.paged(pb.TEXT, [pb.data_page(b"\2\0\0\0\xff\xfe" * 2, 2, pb.PLAIN)])
    with pytest.raises(InvalidInput, match="not a Parquet file that can be read"):
        reader.as_arrow_stream(raw, MOST)
