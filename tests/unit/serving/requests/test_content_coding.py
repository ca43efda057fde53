from __future__ import annotations

import gzip
import time
import zlib

import pytest

from millrace.serving.requests.content_coding import packed, unpack


def test_what_was_packed_is_unpacked() -> None:
    text = b"some text " * 1000
    assert unpack(gzip.compress(text), 10_000) == text
    assert unpack(gzip.compress(b"one ") + gzip.compress(b"two"), 10_000) == b"one two"
    assert unpack(b"", 10_000) == b""


def test_what_is_more_than_the_limit_is_not_unpacked_further() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert unpack(bomb, 9_999) is None
    assert unpack(gzip.compress(bytes(6_000)) * 2, 9_999) is None
    assert unpack(gzip.compress(bytes(9_999)), 9_999) == bytes(9_999)


@pytest.mark.parametrize(
    "raw",
    [
        b"no gzip",
        gzip.compress(b"text" * 100, mtime=0)[:-9],
        zlib.compress(b"x"),
        gzip.compress(b"x", mtime=0) + b"more",
    ],
)
def test_what_is_no_whole_gzip(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"not gzip|cut off"):
        unpack(raw, 10_000)


def test_many_members_are_refused_before_they_cost_much() -> None:
    assert unpack(gzip.compress(b"x") * 16, 10_000) == b"x" * 16
    many, took = (
        gzip.compress(b"") * 50_000,
        list[float](),
    )  # a megabyte, of which each member would copy the rest: 25 GB
    for _ in range(3):  # a machine that does something else meanwhile may count that as ours
        started = time.process_time()
        with pytest.raises(ValueError, match="too many"):
            unpack(many, 10_000)
        took.append(time.process_time() - started)
    assert min(took) < 1


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        (b"gzip", True),
        (b"deflate, GZIP;q=0.5, br", True),
        (b"*", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000, br", False),
        (b"br", False),
        (b"identity", False),
        (b"", False),
    ],
)
def test_answers_are_packed_for_who_takes_it(accepted: bytes, *, is_packed: bool) -> None:
    body = b"0," * 2000
    made = packed(body, accepted)
    assert (made is not None) == is_packed
    if made is not None:
        assert gzip.decompress(made) == body
        assert len(made) < len(body)


def test_small_answers_are_never_packed() -> None:
    assert packed(b"x" * 1000, b"gzip") is None
