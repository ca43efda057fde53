from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from millrace.serving.inputs import Inputs
from millrace.serving.paths.frames import to_frame
from millrace.serving.processes import program

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize(
    "numbers", [None, np.zeros((0, 3)), np.array([[1.5, math.nan], [-0.0, math.inf], [2.0**53, 5e-324]])]
)
def test_a_frame_arrives_as_it_was_sent(pair: Pair, numbers: np.ndarray | None) -> None:
    content = {"labels": [1, 1.0, "é\n", None, math.inf], "rows": 3}
    program.send(pair[0], content, numbers)
    program.send(pair[0], {})
    received, raw = program.receive(pair[1])
    assert received == content
    assert [type(label) for label in received["labels"]] == [int, float, str, type(None), float]
    assert raw.tobytes() == (b"" if numbers is None else numbers.tobytes())
    assert program.receive(pair[1])[0] == {}


def test_a_large_frame_arrives_in_parts(pair: Pair) -> None:
    numbers = np.random.default_rng(1).random((1000, 300))
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(program.receive, pair[1])
        program.send(pair[0], {"texts": [["x" * 1000] * 1000]}, numbers)
        content, raw = received.result(10)
    assert len(content["texts"][0]) == 1000
    assert (raw.reshape(1000, 300) == numbers).all()


@pytest.mark.parametrize("sent", [b"", b"\0" * 9, (8).to_bytes(8, "big") + (0).to_bytes(8, "big") + b"{}"])
def test_a_frame_that_is_cut_off_is_the_end(pair: Pair, sent: bytes) -> None:
    pair[0].sendall(sent)
    pair[0].close()
    with pytest.raises(EOFError):
        program.receive(pair[1])


@pytest.mark.parametrize(
    "signature",
    [
        [("a", "double"), ("b", "double")],
        [("t", "string"), ("a", "float"), ("when", "datetime"), ("b", "long")],
        [("a", "integer"), ("b", "boolean"), ("t", "string")],
    ],
)
def test_the_program_makes_the_frames_that_workers_make(signature: list[tuple[str, str]]) -> None:
    texts = {"string": ["x", None], "datetime": ["2024-02-29T12:00:00", None]}
    columns = [texts[kind] for _, kind in signature if kind in texts]
    numbers = np.array([[1.0, 0.0], [7.0, 1.0]])
    ours, theirs = to_frame(Inputs(numbers, tuple(columns)), signature), program.frame(numbers, columns, signature)
    assert list(ours.columns) == list(theirs.columns)
    assert list(ours.dtypes) == list(theirs.dtypes)
    assert ours.equals(theirs)
