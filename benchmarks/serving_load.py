"""One start of one server in the serving benchmark: how fast it comes up, answers under load, and what it costs."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import processes
from processes import Memory
from serving_contenders import Contender, free_port
from serving_questions import BODIES, Question

CONNECTIONS = (1, 8, 32)
_HERE = Path(__file__).parent
_START_S, _STOP_S, _POLL_S, _WARM_S, _ASK_S = 120.0, 30.0, 0.005, 1, 60.0
_REST_S, _LOOK_S, _REST_SHARE = 20.0, 0.5, 0.1
_OK, _CHECKED = 200, 10


@dataclass(frozen=True)
class Load:
    """What wrk measured for one question at some number of connections, and the processor time that it took.

    Attributes:
        rps: answered requests per second.
        p50_ms, p99_ms: from request to answer.
        errors: requests that were not answered, or not with 200.
        cpu_ms: processor time of the server for a request, all its processes, with what is done about it later.
        answering_cpu_ms: that of the answering process alone.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_ms: float
    answering_cpu_ms: float


@dataclass(frozen=True)
class Start:
    """What one start of a server gave.

    Attributes:
        cold_s: from its command to the first answer with 200.
        loads: per question and number of connections; a question that the server does not know is not there.
        memory: of all its processes after the load.
        rest: of all its processes when nobody has asked it anything for a while.
        answering: of the answering process alone.
        others: the share of the machine's processors that other work took before this server was started.
    """

    cold_s: float
    loads: Mapping[tuple[str, int], Load]
    memory: Memory
    rest: Memory
    answering: Memory
    others: float


@dataclass(frozen=True)
class Cpu:
    """Processor seconds: of the processes that answer, and of those behind them."""

    answering: float
    behind: float


class Failed(Exception):
    """A server that did not come up, refused what it must take, or answered wrongly."""


class Running:
    """A server that was started by `started`."""

    def __init__(self, guard: int, port: int, answering: str, cold_s: float) -> None:
        self._guard, self.port, self._answering, self.cold_s = guard, port, answering, cold_s

    def pids(self) -> list[int]:
        """All its processes."""
        return processes.descendants(self._guard)

    def answering(self) -> list[int]:
        """The processes that answer."""
        return [pid for pid in self.pids() if self._answering in processes.command(pid)]

    def cpu_s(self) -> Cpu:
        """Processor time so far."""
        answering = self.answering()
        return Cpu(processes.cpu_s(answering), processes.cpu_s(set(self.pids()) - set(answering)))


def measure(contender: Contender, core: int, folder: Path, seconds: int) -> Start:
    """Start it on a core, check its answers, put load on it, stop it."""
    others = processes.busy_share(_LOOK_S)
    with started(contender, core, folder) as server:
        _until_at_rest(server)
        known = [question for question in contender.questions if _is_known(question, server.port)]
        loads = {}
        for question in known:
            asked = _asked(server, contender, question, seconds)
            loads |= {(question.name, connections): load for connections, load in asked.items()}
        memory, answering = processes.memory(server.pids()), processes.memory(server.answering())
        time.sleep(contender.rest_s)
        return Start(server.cold_s, loads, memory, processes.memory(server.pids()), answering, others)


@contextmanager
def started(contender: Contender, core: int, folder: Path) -> Iterator[Running]:
    """The server while it runs; it ends with this block, and with this process.

    Raises:
        Failed: it did not come up; with the end of its log.
    """
    port, log = free_port(), folder / f"{contender.name}.log"
    guard = [sys.executable, str(_HERE / "serving_guard.py"), str(core), *contender.command(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            guard,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=_environment(contender.environment),
            start_new_session=True,
        )
    assert process.stdin is not None  # noqa: S101 - for the type checker
    try:
        cold_s = _until_answered(contender, port, process.pid)
        if cold_s is None:
            raise Failed(f"{contender.name} did not answer:\n{log.read_text(errors='replace')[-3000:]}")
        yield Running(process.pid, port, contender.answering, cold_s)
    finally:
        process.stdin.close()
        process.wait(_STOP_S)


def _until_answered(contender: Contender, port: int, guard: int) -> float | None:
    """Seconds to the first 200; None where it ended before that, or took too long."""
    begun, seen, question = time.monotonic(), False, contender.questions[0]
    while (taken := time.monotonic() - begun) < _START_S:
        if _answer(question, port, 0)[0] == _OK:
            return time.monotonic() - begun
        alive = bool(processes.descendants(guard))
        if seen and not alive:
            return None
        seen = seen or alive
        time.sleep(_POLL_S)
    print(f"{contender.name}: nothing in {taken:.0f} s", flush=True)
    return None


def _until_at_rest(server: Running) -> None:
    """Answering is one thing, having started all that there is another: wait until it does nothing much by itself."""
    deadline = time.monotonic() + _REST_S
    while time.monotonic() < deadline:
        before = processes.cpu_s(server.pids())
        time.sleep(_LOOK_S)
        if processes.cpu_s(server.pids()) - before < _LOOK_S * _REST_SHARE:
            return


def _answer(question: Question, port: int, number: int) -> tuple[int, bytes]:
    """Status and body; 0 where nobody answers."""
    if question.client:
        done = subprocess.run(
            [*question.client, "answer", question.folder / str(number)], capture_output=True, check=False
        )
        return (0 if done.returncode else _OK), done.stdout or done.stderr
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_S)
    try:
        connection.request("POST", question.path, (question.folder / str(number)).read_bytes(), dict(question.headers))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _is_known(question: Question, port: int) -> bool:
    """Ask a few times; whether the server takes such a question.

    Raises:
        Failed: it must and does not, or its answers are not right.
    """
    for number in range(_CHECKED):
        status, body = _answer(question, port, number)
        if status != _OK and question.optional:
            return False
        if status != _OK:
            raise Failed(f"{question.path} answered {status}: {body[:500].decode(errors='replace')}")
        first = number * question.rows
        if question.read is not None:
            found, expected = list(question.read(body)), question.expected[first : first + question.rows]
            if found != expected:
                raise Failed(f"{question.path} answered {found[:10]} where {expected[:10]} is right")
    return True


def _asked(server: Running, contender: Contender, question: Question, seconds: int) -> Mapping[int, Load]:
    """Load by each number of connections; what the other processes do for it, then or later, is shared among all requests.

    What is done once, such as to import what makes the first captured rows into a table, belongs to the start: it is over before.
    """
    _wrk(server.port, question, CONNECTIONS[-1], _WARM_S)
    contender.settle(server.port)
    before, requests = server.cpu_s(), 0.0
    told, answering_ms = {}, {}
    for connections in CONNECTIONS:
        # The most are what counts; it gets the longer time.
        taken = seconds if connections == CONNECTIONS[-1] else max(seconds // 2, 1)
        was = server.cpu_s()
        found = told[connections] = _wrk(server.port, question, connections, taken)
        answering_ms[connections] = (server.cpu_s().answering - was.answering) * 1000 / max(found["requests"], 1)
        requests += found["requests"]
    contender.settle(server.port)
    behind_ms = (server.cpu_s().behind - before.behind) * 1000 / max(requests, 1)
    return {
        connections: Load(
            found["requests"] / found["seconds"],
            found["p50_ms"],
            found["p99_ms"],
            int(found["errors"]),
            answering_ms[connections] + behind_ms,
            answering_ms[connections],
        )
        for connections, found in told.items()
    }


def _wrk(port: int, question: Question, connections: int, seconds: int) -> Mapping[str, float]:
    """It, or what asks in its place, runs on the core of this process."""
    what = [str(question.folder), str(BODIES[question.rows])]
    if question.client:
        return _told([*question.client, "load", *what, str(connections), str(seconds)])
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--timeout", "10s", "--script", str(_HERE / "serving.lua"), f"http://127.0.0.1:{port}{question.path}"]
    return _told([*command, "--", *what])


def _told(command: Sequence[str]) -> Mapping[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's, without what is set for development; libraries take one thread, for the one core that there is."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    kept = {n: v for n, v in os.environ.items() if n not in dropped and not n.startswith("MILLRACE_")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}
