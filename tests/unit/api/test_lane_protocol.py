"""Whatever is sent, a connection with the lane answers what uvicorn's own does."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.api.wires import TOKEN, Pair, Pieces, Wire
from tests.unit.serving.lanes import body_of

PATH = b"/serving-endpoints/churn/invocations"
HOST, BEARER = b"Host: localhost\r\n", b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
ONE = body_of(1.0)
V2 = b'{"id": "mine", "inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}]}'


def request(
    path: bytes = PATH,
    body: bytes = ONE,
    *more: bytes,
    method: bytes = b"POST",
    version: bytes = b"1.1",
    heads: bytes = HOST + BEARER,
) -> bytes:
    lines = b"".join(each + b"\r\n" for each in more)
    return b"%s %s HTTP/%s\r\n%s%sContent-Length: %d\r\n\r\n%s" % (method, path, version, heads, lines, len(body), body)


def chunked(body: bytes, sizes: list[int], trailers: bytes = b"") -> bytes:
    written, at = b"", 0
    for size in sizes:
        if body[at : at + size]:
            written += b"%x\r\n%s\r\n" % (len(body[at : at + size]), body[at : at + size])
        at += size
    rest = body[at:]
    if rest:
        written += b"%x;ext=1\r\n%s\r\n" % (len(rest), rest)
    return written + b"0\r\n" + trailers + b"\r\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("pair"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("millrace.api.lane_protocol._BODY_S", 60.0)  # what comes next here comes in time
        yield made
    made.close()


PATHS = st.sampled_from(
    [
        PATH,
        PATH,
        PATH,
        b"/invocations",
        b"/v2/models/churn/infer",
        b"/v2/models/churn/versions/1/infer",
        b"/serving-endpoints/churn/served-models/churn-1/invocations",
        b"/serving-endpoints/%63hurn/invocations",
        b"/serving-endpoints/ch%C3%BCrn/invocations",
        b"/serving-endpoints/churn%2Finvocations",
        b"/serving-endpoints/churn/invocations/",
        b"/serving-endpoints//invocations",
        b"/serving-endpoints/none/invocations",
        b"/serving-endpoints/other/invocations",
        b"/serving-endpoints/churnXXXXXX/infer",
        b"/x/models/churn/infer",
        b"//models/churn/infer",
        b"http://models/churn/infer",
        b"http://localhost" + PATH,
        PATH + b"?predict_proba=true",
        PATH + b"?predict_proba=maybe",
        PATH + b"?client_request_id=a%20b",
        PATH + b"?client_request_id=a#b",
        PATH + b"?",
        PATH + b"#x",
        b"/serving-endpoints/x#/invocations",
        b"/?/invocations",
        b"/serving-endpoints/\xc3\xbc/invocations",
        PATH + b"?client_request_id=\xff",
        b"/ping",
        b"/v2/repository/index",
        b"*",
        b"",
    ]
)
BODIES = st.sampled_from(
    [
        ONE,
        ONE,
        body_of(1.0, 2.0),
        body_of(-1.0),
        V2,
        b"",
        b"{",
        b"no json",
        b"[1]",
        gzip.compress(ONE, mtime=0),
        b" " * 70_000 + ONE,
    ]
)
LINES = st.lists(
    st.sampled_from(
        [
            b"Content-Type: application/json",
            b"content-type:application/json; charset=utf-8",
            b"Content-Type: text/csv",
            b"Content-Type: text/html",
            b"Content-Type:",
            b"Accept-Encoding: gzip",
            b"X-Request-Id: theirs",
            b"Connection: close",
            b"Connection: keep-alive",
            b"Connection: Upgrade",
            b"Upgrade: h2c",
            b"Expect: 100-continue",
            b"Expect: more",
            b"Content-Encoding: gzip",
            b"Content-Encoding: identity",
            b"Content-Encoding: br",
            b"Origin: http://elsewhere",
            b"Host: elsewhere",
            b"Authorization: Bearer wrong",
            b"Content-Length: 3",
            b"Transfer-Encoding: chunked",
            b"No colon",
            b": nameless",
            b"X: \x00",
            b"X-Long: " + b"x" * 5000,
            b"Content-Type: \xff\xfe",
            b"Content-Encoding: \xff",
            b"Accept-Encoding: \xff, gzip;q=\xc3",
            b"X-Request-Id: \xc3\xbc\xa0",
            b"Upgrade: websocket",
        ]
    ),
    max_size=3,
)
HEADS = st.sampled_from(
    [HOST + BEARER] * 6
    + [
        HOST,
        BEARER,
        b"Host: elsewhere\r\n" + BEARER,
        HOST + b"Authorization: Bearer wrong\r\n",
        HOST + BEARER + BEARER,
        HOST + b"Authorization: Bearer \xff\xfe\r\n",
        HOST + b"Authorization: \xff\r\n",
        b"Host: \xff:80\r\n" + BEARER,
        b"Host: LOCALHOST:80\r\nauthorization: bearer  an-open-secret \r\n",
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    path, body, lines, heads = draw(PATHS), draw(BODIES), draw(LINES), draw(HEADS)
    method = draw(st.sampled_from([b"POST"] * 8 + [b"GET", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"BREW", b"post"]))
    version = draw(st.sampled_from([b"1.1"] * 8 + [b"1.0", b"2.0", b"0.9", b"x"]))
    head = b"%s %s HTTP/%s\r\n%s%s" % (method, path, version, heads, b"".join(each + b"\r\n" for each in lines))
    framing = draw(st.sampled_from(["length"] * 5 + ["chunks", "chunks", "short", "long", "odd", "none"]))
    if framing == "chunks":
        sizes = draw(st.lists(st.integers(1, 60), max_size=4))
        trailers = draw(st.sampled_from([b"", b"", b"X: y\r\n", b"Content-Type: text/html\r\n"]))
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, sizes, trailers)
    length = {"length": b"%d", "short": b"%d ", "long": b"%d", "odd": b" +%d", "none": b""}[framing]
    if length:
        count = len(body) + {"short": 0, "long": 5}.get(framing, 0)
        head += b"Content-Length: " + length % count + b"\r\n"
    return head + b"\r\n" + body


@st.composite
def conversations(draw: st.DrawFn) -> Pieces:
    sent = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(sent) - 1)), max_size=5)))
    edges = [0, *cuts, len(sent)]
    turns = draw(st.lists(st.sampled_from([0, 0, 1, 2, 8]), min_size=len(edges), max_size=len(edges)))
    return [(sent[first:last], turns[at]) for at, (first, last) in enumerate(pairwise(edges))]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces=conversations(), full=st.booleans())
def test_the_lane_says_what_uvicorn_says(pair: Pair, pieces: Pieces, full: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    pair.same(pieces, full=full)


TWO = request(body=body_of(2.0))
ELSEWHERE = request(b"/api/x")
IN_CHUNKS = b"POST %s HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n" % (PATH, HOST + BEARER)


@pytest.mark.parametrize(
    ("pieces", "taken", "statuses"),
    [
        ([(request(), 0)], 1, [200]),
        ([(request(), 5), (TWO, 5), (request(), 5)], 3, [200, 200, 200]),
        ([(IN_CHUNKS + chunked(ONE, [5, 7]), 0)], 0, [200]),
        ([(request(PATH, ONE, b"Accept-Encoding: gzip"), 0)], 1, [200]),
        ([(request(b"/serving-endpoints/%63hurn/invocations"), 0)], 1, [200]),
        ([(request(b"/v2/models/churn/infer?client_request_id=a", V2), 0)], 1, [200]),
        ([(request(body=body_of(-1.0)), 3), (TWO, 0)], 2, [500, 200]),
        ([(request(body=b"no json"), 3), (TWO, 0)], 2, [400, 200]),
        # In pieces: cut in the head, which is the usual way's; behind it, and in the body.
        ([(request()[:20], 2), (request()[20:], 0)], 0, [200]),
        ([(request()[: -len(ONE)], 2), (ONE, 0)], 1, [200]),
        ([(request()[:-5], 0), (ONE[-5:], 0)], 1, [200]),
        ([(request()[:-5], 2), (ONE[-5:-3], 2), (ONE[-3:] + TWO, 2)], 1, [200, 200]),
        ([(request()[:-5], 2), (ONE[-5:], 5), (TWO[:-9], 2), (TWO[-9:], 0)], 2, [200, 200]),
        # Of no length that is known before, or too long for the lane.
        ([(IN_CHUNKS, 0), (chunked(ONE, [5]), 0)], 0, [200]),
        ([(request(body=ONE + b" " * (300 << 10))[:-5], 0), (b" " * 5, 0)], 0, [200]),
        ([(request()[:-5], 0)], 0, []),
        # Several in one packet: whoever comes behind another waits for it, as uvicorn does it.
        ([(request() + TWO, 0)], 1, [200, 200]),
        ([(request() + TWO + request(), 0), (request(), 9)], 2, [200, 200, 200, 200]),
        ([(request() + ELSEWHERE + TWO, 0)], 1, [200, 404, 200]),
        ([(ELSEWHERE + request(), 0)], 0, [404, 200]),
        ([(ELSEWHERE, 4), (request(), 0)], 1, [404, 200]),
        ([(request() + TWO[:30], 3), (TWO[30:], 0)], 1, [200, 200]),
        # The usual way's.
        ([(request(PATH, ONE, b"Expect: 100-continue"), 0)], 0, [100, 200]),
        ([(request(version=b"1.0"), 0)], 0, [200]),
        ([(request(PATH, ONE, b"Connection: close"), 0)], 0, [200]),
        ([(request(PATH, ONE, b"Connection: Upgrade", b"Upgrade: h2c"), 0)], 0, [400]),  # its body is not read
        ([(request(PATH, gzip.compress(ONE), b"Content-Encoding: gzip"), 0)], 0, [200]),
        ([(request(method=b"GET"), 0)], 0, [405]),
        ([(request(method=b"HEAD"), 0)], 0, [405]),
        ([(request(heads=HOST), 0)], 0, [401]),
        ([(request(heads=HOST + b"Authorization: Bearer wrong\r\n"), 0)], 0, [401]),
        ([(request(heads=BEARER), 0)], 0, [403]),
        ([(request(heads=b"Host: elsewhere\r\n" + BEARER), 0)], 0, [403]),
        ([(request(b"/serving-endpoints/none/invocations"), 0)], 0, [404]),
        ([(request(b"/x/models/churn/infer", V2), 0)], 0, [404]),
        ([(request(b"http://models/churn/infer", V2), 0)], 0, [404]),
        ([(request(PATH, ONE, b"Content-Type: text/html"), 0)], 0, [415]),
        # Whose URL uvicorn reads in its own way.
        ([(request(PATH + b"?client_request_id=a#b"), 0)], 0, [200]),
        ([(request(b"http://localhost" + PATH), 0)], 0, [200]),
        ([(request(PATH + b"?client_request_id=" + b"x" * 2000), 0)], 0, [200]),
        # Of two headers of one name it is the usual way that says which counts.
        ([(request(PATH, ONE, b"X-Long: " + b"x" * 100_000, b"Host: elsewhere", b"X-Long: y"), 0)], 0, [200]),
        ([(request(PATH, ONE, b"X-Long: " + b"x" * 100_000), 0)], 0, [200]),
        # A value's spaces are no part of it.
        ([(request().replace(b"Length: %d" % len(ONE), b"Length: %d \t" % len(ONE)), 0)], 0, [200]),
        ([(request().replace(b"Length: %d" % len(ONE), b"Length: %d " % len(ONE))[:-3], 3), (ONE[-3:], 0)], 0, [200]),
        # Who is refused before there is a body is told so at once.
        ([(request(PATH, ONE, b"Content-Encoding: br")[:-5], 0)], 0, [415]),
        ([(request(heads=HOST)[:-5], 0)], 0, [401]),
        ([(request(b"/serving-endpoints/none/invocations")[:-5], 0)], 0, [404]),
        # What is no HTTP, at once or behind what is.
        ([(b"\x16\x03\x01", 0)], 0, [400]),
        ([(request(), 5), (b"\x16\x03\x01", 0)], 1, [200, 400]),
        ([(request(b"/serving-endpoints/\xc3\xbc/invocations"), 0)], 0, [400]),
        ([(request(b"/serving-endpoints/\xc3\xbc/invocations")[:-5], 0)], 0, [400]),
        ([(IN_CHUNKS + b"4\r\n1234\r\nnothing", 0)], 0, [400]),
        ([(request(PATH, ONE, b"Content-Length: 3"), 0)], 0, [400]),
    ],
)
def test_what_the_lane_takes_and_what_it_leaves(pair: Pair, pieces: Pieces, taken: int, statuses: list[int]) -> None:
    said, took = pair.same(pieces)
    assert ([int(status.split()[1]) for status, *_ in said.answers], took) == (statuses, taken)


def test_who_does_not_read_answers_goes_the_usual_way_which_waits_for_it(pair: Pair) -> None:
    said, taken = pair.same([(request(), 5), (TWO, 5)], full=True)
    assert ([status for status, *_ in said.answers], taken) == ([b"HTTP/1.1 200 OK"] * 2, 0)


@pytest.mark.parametrize("sent", [request(), request() + TWO, request() + ELSEWHERE, request() + TWO[:40]])
def test_who_leaves_before_the_answer_leaves_nothing_behind(
    pair: Pair, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    said = pair.left(sent)
    assert (said.answers, said.raised, caplog.text) == ([], [], "")
    assert said.counts == ({("churn", "churn-1"): ({"200": 1}, 1)}, {})
    assert [record.status for record in said.records] == [200]


class _Timers:
    """A connection's loop, whose time stands in a test's hand.

    Attributes:
        set: delay and callback of each timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self.now_s = loop, 1000.0
        self.set: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self.set.append((delay_s, callback))
        return self._loop.call_later(3600, callback)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


@pytest.mark.parametrize("to", [b"websocket", b"h2c"])
@pytest.mark.parametrize("turns", [0, 3])
def test_what_follows_a_request_to_upgrade_is_no_request(pair: Pair, to: bytes, turns: int) -> None:
    """Its body, say: to a proxy before us it is one."""
    inner = b"GET /inner HTTP/1.1\r\n" + HOST + BEARER + b"\r\n"
    head = b"POST /outer HTTP/1.1\r\n" + HOST + BEARER + b"Connection: Upgrade\r\nUpgrade: " + to
    said = pair.said([(b"%s\r\nContent-Length: %d\r\n\r\n" % (head, len(inner)), turns), (inner, 3)])
    ((_, headers, body),) = said.answers
    assert (body, b"connection: close" in headers, said.closed) == (b"/outer", True, True)


def test_one_timer_keeps_a_connection_through_many_requests(pair: Pair) -> None:
    async def story() -> None:
        server, wire = pair.servers[0], Wire()
        server.renew()
        connection = server.connection()
        timers = _Timers(asyncio.get_running_loop())
        connection.loop = cast("Any", timers)
        wire.protocol = connection
        connection.connection_made(wire)
        for _ in range(3):
            connection.data_received(request())
            await asyncio.sleep(0.01)
            timers.now_s += 30
        assert [delay_s for delay_s, _ in timers.set] == [60, 75]  # for the first head, and behind the first answer
        timers.set[1][1]()  # 30 seconds after the last answer
        assert [delay_s for delay_s, _ in timers.set] == [60, 75, 45]
        assert not wire.is_closing()
        timers.now_s += 45
        timers.set[2][1]()
        assert wire.is_closing()
        await asyncio.sleep(0.01)
        assert len(timers.set) == 3

    asyncio.run(story())
