"""What is on disk when an answer leaves: by the order of the system calls."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest

from millrace.access.types import CALLER, owner
from millrace.core.clock import SystemClock
from millrace.core.settings import Durability
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import Capture, Endpoint, EndpointName, EndpointState, LoadPlan
from tests.integration.lone_worker import BODY, PATH, Worker, deploy, running, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("durability") / "model")


# In the process: every call in order.


class Recorded:
    """A hot app whose writes, syncs and answers are noted in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path, model: Path, durability: Durability) -> None:
        self.steps: list[str] = []
        entity, facts = served_entity("ml.models.churn", "1"), read_model_folder(model)
        plan = LoadPlan(entity, str(model), facts.flavor, facts.inputs, None)
        config = endpoint_config(entity, capture=Capture("ml", "logs", "churn"))
        clock = SystemClock()
        state, now = EndpointState(ready=True, config_update="NOT_UPDATING"), clock.now()
        endpoint = Endpoint(EndpointName("churn"), "id", 1, config, (plan,), None, state, now, now, "user:ada")
        self.capture = CaptureLog(root / "capture", "w0", clock, durability=durability, sync_s=0.2)
        self.app = HotApp(clock, LmdbOnlineStore(root / "online"), self.capture)
        self.app.serve([endpoint])
        for name in ("write", "fdatasync"):
            monkeypatch.setattr(os, name, self._noting(name, getattr(os, name)))

    def _noting(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object) -> object:
            result = call(*args)
            self.steps.append(name)
            return result

        return run

    async def ask(self) -> dict[str, str]:
        headers: dict[str, str] = {}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": BODY, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.steps.append(f"answer {message['status']}")
                headers.update({name.decode(): value.decode() for name, value in message["headers"]})

        scope = {"type": "http", "method": "POST", "path": PATH, "headers": [], CALLER: owner("user:ada")}
        await self.app(scope, receive, send)
        return headers


@pytest.mark.parametrize(
    ("durability", "expected"),
    [
        ("process", ["write", "answer 200"]),
        ("buffered", ["answer 200"]),
        ("durable", ["write", "fdatasync", "answer 200"]),
    ],
)
def test_what_is_promised_is_done_before_the_answer_leaves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Path, durability: Durability, expected: list[str]
) -> None:
    recorded = Recorded(monkeypatch, tmp_path, model, durability)
    with (
        nullcontext() if durability == "durable" else recorded.capture._syncing
    ):  # which comes by itself otherwise, at any moment
        headers = asyncio.run(recorded.ask())
    assert recorded.steps[: len(expected)] == expected
    assert "x-millrace-capture" not in headers
    deadline = time.monotonic() + 60
    while "fdatasync" not in recorded.steps and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "fdatasync" in recorded.steps  # a little later, in all of them
    recorded.capture.close()


@pytest.mark.parametrize("durability", ["process", "durable"])
def test_an_answer_says_that_its_record_was_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Path, durability: Durability
) -> None:
    recorded = Recorded(monkeypatch, tmp_path, model, durability)
    monkeypatch.setattr(os, "write", _full)
    headers = asyncio.run(recorded.ask())
    assert recorded.steps[-1] == "answer 200"
    assert headers["x-millrace-capture"] == "dropped"
    assert recorded.capture.state.dropped == 1
    recorded.capture.close()


def _full(*_: object) -> int:
    raise OSError(28, "No space left on device")


# From outside: what the kernel was asked for, in order.


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose model is proved."""
    home = tmp_path_factory.mktemp("traced") / "home"
    deploy(home)
    with running(home):
        return home


@dataclass(frozen=True)
class Traced:
    """A worker under strace, and whether its connections have the lane."""

    worker: Worker
    trace: Path
    has_lane: bool


@pytest.fixture(params=["lane", "usual"])
def traced(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path, durability: Durability
) -> Iterator[Traced]:
    if shutil.which("strace") is None:
        pytest.skip("strace is missing; install Debian's package strace")
    has_lane, trace = request.param == "lane", tmp_path / "trace"
    monkeypatch.setenv("MILLRACE_CAPTURE_DURABILITY", durability)
    monkeypatch.setenv("MILLRACE_ACCESS_LOG", "0" if has_lane else "1")  # with a line for each request there is no lane
    strace = ["strace", "--seccomp-bpf", "--follow-forks", "--decode-fds=path", "--output", str(trace)]
    strace += ["--string-limit=100000", "--trace=write,fdatasync,sendto,sendmsg,writev"]
    with running(home, strace, process_group=0) as worker:
        try:
            yield Traced(worker, trace, has_lane)
        finally:
            os.killpg(worker.process.pid, signal.SIGKILL)  # strace and its child, which we started


@pytest.mark.slow
@pytest.mark.strace
@pytest.mark.parametrize("durability", get_args(Durability))
def test_the_kernel_is_asked_in_the_order_that_is_promised(traced: Traced, durability: Durability) -> None:
    # Of the lane alone, requests of one turn share a write.
    may = {"written together": traced.has_lane or durability == "buffered"}
    may |= {"answered unwritten": durability == "buffered", "answered unsynced": durability != "durable"}
    asked, seen, until = list[str](), set[str](), time.monotonic() + 120
    while not asked or seen != {what for what, it_may in may.items() if it_may}:
        assert time.monotonic() < until, seen
        _ask_at_once(traced.worker, asked)
        seen = _seen(_story(traced.trace, asked), asked)
        assert all(may[each] for each in seen), seen


def _seen(story: Story, asked: Sequence[str]) -> set[str]:
    seen = set[str]()
    if len(set(story.written.values())) < len(story.written):
        seen.add("written together")
    if any(story.written[each] > story.answered[each] for each in asked):
        seen.add("answered unwritten")
    if any(story.synced[each] > story.answered[each] for each in asked):
        seen.add("answered unsynced")
    return seen


@dataclass
class Story:
    """Where in the trace each request's record was in a segment, and in which, where it was on the disk, and where its answer began to leave."""

    written: dict[str, int] = field(default_factory=dict)
    segment: dict[str, str] = field(default_factory=dict)
    synced: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)

    def is_whole(self, asked: Sequence[str]) -> bool:
        return all(each in self.synced and each in self.answered for each in asked)


def _story(trace: Path, asked: Sequence[str]) -> Story:
    """What became of these requests; parts of it come a little later than the answers."""
    until = time.monotonic() + 60
    while not (story := _told(trace.read_text().splitlines())).is_whole(asked):
        assert time.monotonic() < until, "something was not written down"
        time.sleep(0.05)
    return story


def _told(lines: Sequence[str]) -> Story:
    """A write and a sync count when they have ended; an answer, and what a sync is to bring, when they begin."""
    story, begun = Story(), dict[str, tuple[dict[str, int], list[str]]]()
    for place, line in enumerate(lines):
        thread, _, call = line.partition(" ")
        if call.lstrip().startswith("<..."):
            into, whose = begun.pop(thread, ({}, []))
        else:
            into, whose = _begins(call, story)
        if call.endswith("<unfinished ...>") and into is not story.answered:
            begun[thread] = into, whose
            continue
        for each in whose:
            into.setdefault(each, place)
    return story


def _begins(call: str, story: Story) -> tuple[dict[str, int], list[str]]:
    """Where it is to be noted what a call does, and of which requests."""
    on_segment = re.match(r"\s*(write|fdatasync)\(\d+<[^>]*/capture/([^.>]+)", call)
    if on_segment and on_segment[1] == "fdatasync":
        return story.synced, [each for each in story.written if story.segment[each] == on_segment[2]]
    if on_segment:
        # A head begins with the ids of its description and of its request.
        whose = re.findall(r'\[\\"[^\\"]*\\",\\"([0-9a-f-]{36})\\"', call)
        story.segment |= dict.fromkeys(whose, on_segment[2])
        return story.written, whose
    if "HTTP/1.1 200" in call:
        return story.answered, re.findall(r"databricks-request-id: ([0-9a-f-]{36})", call)
    return {}, []


def _ask_at_once(worker: Worker, asked: list[str], clients: int = 4, times: int = 10) -> None:
    """Some clients ask, each as soon as all have their answers; `asked` gets the ids."""
    barrier = threading.Barrier(clients)

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", worker.port)
        for _ in range(times):
            barrier.wait(60)
            connection.request("POST", PATH, BODY, dict(worker.headers))
            response = connection.getresponse()
            response.read()
            assert response.status == 200
            asked.append(response.headers["databricks-request-id"])
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
