"""Whatever is sent, in any dialect: an answer or a 4xx that says why, in JSON, without the caller's data; never a 500."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.formats.bodies import (  # fmt: skip
    CSV,
    FILE,
    JSON,
    PARQUET,
    ROWS,
    ROWS_OF,
    STREAM,
    arrow,
    csv,
    documents,
    parquet,
    valid,
)

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

cases = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# Each with the model that it is for.
VALID = [(model, *each) for model in ("pipeline", "looked-up") for each in valid(ROWS_OF[model])]


def path_of(model: str, v2: str) -> str:
    return f"/v2/models/{model}{v2}" if v2 else f"/serving-endpoints/{model}/invocations"


def check(reply: Any, allowed: Sequence[int] = (200, 400, 413, 415)) -> None:
    assert reply.status in allowed, (reply.status, reply.body)
    content = reply.json
    assert reply.status == 200 or content.get("error") or content.get("message")


def ask(server: Any, path: str, body: bytes, headers: Sequence[tuple[bytes, bytes]] = (), **more: Any) -> None:
    """Ask in the usual way and by the lane, which gives the same answer, or leaves the request to the usual way."""
    reply = server.ask(path, body, headers=headers, **more)
    check(reply)
    # How long the body is, it has been told; nor is it asked by who sends a header twice.
    names = [name for name, _ in headers]
    if b"content-length" in names or len(set(names)) < len(names):
        return
    by_lane = server.ask_by_lane(path, body, headers=headers, **more)
    assert by_lane is None or (by_lane.status, by_lane.json) == (reply.status, reply.json)


def test_the_valid_bodies_are_answered(server: Any) -> None:
    for model, v2, content_type, body in VALID:
        for way in (server.ask, server.ask_by_lane):
            reply = way(path_of(model, v2), body, content_type=content_type)
            if way == server.ask_by_lane and content_type == PARQUET:
                assert reply is None  # another process reads it
            else:
                assert reply.status == 200, (content_type, reply.body)


@settings(cases, max_examples=1500)
@given(data=st.data())
def test_spoiled_bodies(server: Any, data: st.DataObject) -> None:
    model, v2, content_type, good = data.draw(st.sampled_from(VALID))
    raw = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        how = data.draw(st.sampled_from(["flip", "cut", "drop", "double", "put", "zero"]))
        if how == "flip" and raw:
            raw[at] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "cut":
            del raw[at:]
        elif how == "drop":
            del raw[at : at + data.draw(st.integers(1, 16))]
        elif how == "double":
            raw[at:at] = raw[at : at + data.draw(st.integers(1, 64))]
        elif how == "put":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            raw[at : at + 4] = data.draw(st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff"]))
    ask(server, path_of(model, v2), bytes(raw), content_type=content_type)


def _deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


DEEP, LONG = _deep(300), "x" * 100_000

_LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["", "NaN", "2025-03-01", 1e308, 10**400, "FP64", -1, 0, [], {}, DEEP, LONG]),
)
_VALUE = st.recursive(
    _LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


_DEEPEST = 8  # beyond it nothing is replaced


def _places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    if len(path) == _DEEPEST:
        return [path]
    return [path, *(place for key, value in children for place in _places(value, (*path, key)))]


def _replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    items = dict(content) if isinstance(content, dict) else list(content)
    items[path[0]] = _replaced(items[path[0]], path[1:], value)
    return items


@settings(cases, max_examples=1200)
@given(data=st.data())
def test_other_values_anywhere_in_json(server: Any, data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(list(ROWS_OF)))
    v2, content = data.draw(st.sampled_from(documents(ROWS_OF[model])))
    for _ in range(data.draw(st.integers(1, 2))):
        content = _replaced(content, data.draw(st.sampled_from(_places(content))), data.draw(_VALUE))
        if not isinstance(content, dict | list):
            break
    ask(server, path_of(model, v2), json.dumps(content).encode())


_TOKEN = st.sampled_from(
    [
        b"gzip",
        b"identity",
        b"br",
        b"",
        b"*",
        b"gzip;q=0",
        b"gzip, br;q=1",
        b"x-gzip",
        b"0",
        b"-1",
        b"1e9",
        b"\xff",
        b"99999999999999999999",
    ]
)
_HEADER = st.tuples(
    st.sampled_from([b"content-encoding", b"accept-encoding", b"content-length", b"accept", b"x-other"]),
    _TOKEN | st.binary(max_size=12),
)
_TYPE = st.sampled_from(
    [
        JSON,
        CSV,
        PARQUET,
        STREAM,
        FILE,
        b"",
        b"text/csv; charset=latin-1",
        b"application/json;charset=UTF-8",
        b";",
        b"text/plain",
    ]
)


@settings(cases, max_examples=800)
@given(
    raw=st.binary(max_size=200) | st.sampled_from([body for *_, body in VALID]) | st.text(max_size=60).map(str.encode),
    content_type=_TYPE | st.binary(max_size=20),
    headers=st.lists(_HEADER, max_size=4),
    query=st.sampled_from(
        [
            "",
            "?",
            "?predict_proba=true",
            "?predict_proba=x",
            "?client_request_id=%FF%00",
            "?other=1",
            "?predict_proba=false&&=",
            "?%",
        ]
    ),
    model=st.sampled_from(["pipeline", "looked-up"]),
    v2=st.sampled_from(["", "/infer", "/versions/3/infer"]),
)
def test_any_bytes_and_headers(
    server: Any, *, raw: bytes, content_type: bytes, headers: Any, query: str, model: str, v2: str
) -> None:
    ask(server, path_of(model, v2) + query, raw, content_type=content_type, headers=headers)


KEYS: dict[str, Any] = {"number": 5, "name": "x", "at": "2025-03-10T12:00:00Z", "cost": "1.50"}
_KEY_TYPES = {"number": pa.int64(), "name": pa.string(), "at": pa.timestamp("us", "UTC"), "cost": pa.decimal128(12, 2)}
_ODD = st.sampled_from(
    [
        None,
        "",
        "5",
        "7" * 30,
        7 * 10**29,
        -(2**63),
        1.5,
        True,
        "9999-12-31T23:59:59-05:00",
        "NaN",
        "1e999999999",
        LONG,
        DEEP,
    ]
)


def _keyed(dialect: str, keys: dict[str, Any]) -> tuple[str, bytes, bytes]:
    """A question about one key in this dialect; to Arrow and Parquet in the keys' types where the value has them, else as text."""
    if dialect == "csv":
        return "", CSV, csv({name: [value] for name, value in keys.items() if value is not DEEP} | {"more": [1]})
    if dialect == "v2":
        tensors = [
            {"name": name, "shape": [1], "datatype": "INT64" if type(value) is int else "BYTES", "data": [value]}
            for name, value in keys.items()
        ]
        return "/infer", JSON, json.dumps({"inputs": tensors}).encode()
    if dialect in ("arrow", "parquet"):
        columns = {name: _typed(name, value) for name, value in keys.items()}
        if dialect == "arrow":
            return "", STREAM, arrow(pa.ipc.new_stream, columns)
        return "", PARQUET, parquet(columns)
    return "", JSON, json.dumps({"instances": [keys]}).encode()


def _typed(name: str, value: Any) -> Any:
    text = None if value is None else str(value)
    try:
        return pa.array([text]).cast(_KEY_TYPES[name])
    except pa.ArrowInvalid:
        return pa.array([text])


DIALECTS = ("json", "csv", "v2", "arrow", "parquet")


def test_one_key_is_answered_by_one_entity_in_all_dialects(server: Any) -> None:
    for number in range(20):
        asked = [_keyed(dialect, {**KEYS, "number": number}) for dialect in DIALECTS]
        replies = [server.ask(path_of("divided", v2), body, content_type=kind) for v2, kind, body in asked]
        assert [reply.status for reply in replies] == [200] * len(DIALECTS), [reply.body for reply in replies]
        assert len({reply.headers[b"served-model-name"] for reply in replies}) == 1
    until = time.monotonic() + 60
    while not _copies_answered(server) and time.monotonic() < until:  # when there is time
        server.loop.run_until_complete(asyncio.sleep(0.01))
    assert _copies_answered(server) > 0


def _copies_answered(server: Any) -> int:
    return sum(shadow["answered"] for shadow in server.app.counts()["shadows"])


@settings(cases, max_examples=1000)
@given(
    dialect=st.sampled_from(DIALECTS),
    odd=st.dictionaries(st.sampled_from(sorted(KEYS)), _ODD, max_size=3),
    left_out=st.sets(st.sampled_from(sorted(KEYS)), max_size=1),
    members=st.sampled_from([0, 0, 1, 16, 5000]),
)
def test_odd_keys_at_a_divided_endpoint(
    server: Any, *, dialect: str, odd: dict[str, Any], left_out: set[str], members: int
) -> None:
    v2, kind, body = _keyed(dialect, {name: value for name, value in (KEYS | odd).items() if name not in left_out})
    headers = []
    if members:
        body = gzip.compress(b"") * (members - 1) + gzip.compress(body, 1)
        headers = [(b"content-encoding", b"gzip")]
    ask(server, path_of("divided", v2), body, content_type=kind, headers=headers)


_PARTS = [
    "models",
    "pipeline",
    "divided",
    "versions",
    "3",
    "infer",
    "ready",
    "served-models",
    "pipeline-3",
    "health",
    "",
]
_REST = st.text("/abcv2.models ready0%\0ü", max_size=30) | st.lists(st.sampled_from(_PARTS), max_size=5).map("/".join)


@settings(cases, max_examples=500)
@given(
    path=_REST.map("/v2/{}".format)
    | _REST.map("/v2/models/{}".format)
    | _REST.map("/serving-endpoints/{}/invocations".format)
    | st.sampled_from(["/v2", "/ping", "/invocations"]),
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
)
def test_any_path(server: Any, path: str, method: str) -> None:
    check(server.ask(path, b"{}", method=method), (200, 400, 404, 405))


PLANTED = "planted77"


def _planted() -> list[tuple[str, bytes, bytes]]:
    """Wrong bodies of each dialect with the planted in one place: a value, a name, an id, a parameter, a whole body."""
    bodies: list[tuple[str, bytes, bytes]] = []
    for v2, content in documents(ROWS):
        spoiled = [
            _replaced(content, place, value)
            for place in _places(content)
            for value in (PLANTED, [PLANTED], {PLANTED: PLANTED})
        ]
        spoiled += [
            {**content, PLANTED: PLANTED, "inputs": PLANTED},
            {**content, "params": {PLANTED: PLANTED}, "outputs": [{"name": PLANTED}]},
        ]
        bodies += [(v2, JSON, json.dumps(each).encode()) for each in spoiled]
    bodies += [(v2, content_type, PLANTED.encode()) for v2, content_type, _ in valid(ROWS)]
    for name, values in ROWS.items():
        others = {each: kept for each, kept in ROWS.items() if each != name}
        for columns in (
            {**others, PLANTED: values},
            {**others, name: [PLANTED, PLANTED]},
            {**others, name: [[PLANTED], None]},
            {**others, name: [{PLANTED: PLANTED}, None]},
            {**others, name: [PLANTED.encode(), None]},
        ):
            bodies += [("", PARQUET, parquet(columns)), ("", STREAM, arrow(pa.ipc.new_stream, columns))]
            bodies += [("", FILE, arrow(pa.ipc.new_file, columns)), ("", CSV, csv(columns))]
    for number in range(len(ROWS)):
        bodies += [
            ("", CSV, csv(ROWS) + b"\n" + b",".join([PLANTED.encode()] * number)),
            ("", CSV, b'a,b\n1,"' + PLANTED.encode()),
        ]
    return bodies


def test_no_answer_that_refuses_echoes_what_was_sent(server: Any) -> None:
    refused, planted = 0, re.compile(PLANTED.encode(), re.IGNORECASE)
    for v2, content_type, body in _planted():
        reply = server.ask(path_of("pipeline", v2) + f"?client_request_id={PLANTED}", body, content_type=content_type)
        check(reply)
        if reply.status != 200:
            refused += 1
            assert not planted.search(reply.body), reply.body
    assert refused > 200
    for query in (f"?{PLANTED}=1", f"?predict_proba={PLANTED}", f"?predict_proba=true&{PLANTED}"):
        reply = server.ask(path_of("pipeline", "") + query, VALID[0][3])
        assert (reply.status, planted.search(reply.body)) == (400, None)


def test_all_that_was_answered_is_kept(server: Any, kept: Any) -> None:
    """Of all that this process has asked so far, the bodies above among it."""
    for model, v2, content_type, body in VALID:
        server.ask(path_of(model, v2), body, content_type=content_type)
    drained, endpoints = kept.drain(), list(server.app.served())
    assert (drained.held, drained.aside) == (0, 0)
    assert kept.payload(endpoints) == Counter((name, status) for name, (status, _) in server.answered.items())
    assert kept.predictions(endpoints) == {(name,): rows for name, (_, rows) in server.answered.items() if rows}
    copies = kept.copies("divided")
    assert {name for (name,) in copies} <= server.answered.keys()
    assert list(copies.values()) == [1] * _copies_answered(server)
