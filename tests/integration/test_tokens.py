"""A server with two workers and TLS: who may do what, from when on, and what callers are told when something breaks."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families  # noqa: TID253 - a test

from millrace.api.discovery import find_server
from millrace.cli.main import main
from millrace.targets.local_server import probe, read_info
from millrace.workspace import open_workspace
from tests.integration.constant_model import MODEL, ROW, register_constant

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, while models are logged and read in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

ENDPOINTS, TOKENS = "/api/2.0/serving-endpoints", "/api/millrace/tokens"
SOON_S = 2.0
_PATIENCE_S = 180  # the first to make an endpoint waits until MLflow is imported


@dataclass(frozen=True)
class Running:
    """The server under test."""

    url: str
    home: Path
    certificate: Path

    def ask(self, token: str | None, method: str, path: str, **more: Any) -> httpx.Response:
        """On a connection of its own, so that it may reach either worker."""
        headers = {**({} if token is None else {"authorization": f"Bearer {token}"}), **more.pop("headers", {})}
        trust = ssl.create_default_context(cafile=str(self.certificate))
        with httpx.Client(base_url=self.url, verify=trust, headers=headers, timeout=_PATIENCE_S) as client:
            return client.request(method, path, **more)

    def query(self, token: str | None, endpoint: str) -> httpx.Response:
        return self.ask(token, "POST", f"/serving-endpoints/{endpoint}/invocations", json={"dataframe_records": [ROW]})

    @property
    def owner(self) -> str:
        return (self.home / "token").read_text().strip()

    def make(self, name: str, **body: object) -> str:
        made = self.ask(self.owner, "POST", TOKENS, json={"name": name, **body})
        assert made.status_code == 200, made.text
        return str(made.json()["token"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("tokens") / "home"
    workspace = open_workspace(home)
    register_constant(workspace, 1)
    workspace.close()
    command = [sys.executable, "-m", "millrace.cli.main", "up", "--json", "--port", "0", "--workers", "2"]
    tls = ["--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1])]
    with subprocess.Popen([*command, *tls, "--home", str(home)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            running = Running(json.loads(process.stdout.readline())["url"], home, certificate[0])
            for name in ("churn", "spend"):
                entity = {"entity_name": MODEL, "entity_version": "1"}
                capture = {"catalog_name": "main", "schema_name": "logs", "table_name_prefix": name}
                config = {"served_entities": [entity], "auto_capture_config": capture}
                body = {"name": name, "config": config}
                assert running.ask(running.owner, "POST", ENDPOINTS, json=body).status_code == 200
                _until(partial(_is_up, running, name))
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(90) == 0


# TLS


def test_the_server_speaks_tls_only(server: Running) -> None:
    assert server.url.startswith("https://127.0.0.1:")
    assert server.ask(None, "GET", "/health").text == "OK"
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{server.url}/health", timeout=120)
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url.replace("https", "http") + "/health", timeout=120)


def test_programs_on_this_machine_find_it_by_its_certificate(
    server: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = find_server(server.home)
    assert found
    assert found.certificate == server.certificate.read_text()
    assert main(["endpoint", "query", "churn", json.dumps(ROW), "--home", str(server.home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"] == [1]
    # Another server's certificate is not taken for it.
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*make, *files], check=True, capture_output=True)
    other = (tmp_path / "cert.pem").read_text()
    assert probe(type(found)(found.url, found.pid, found.instance, other), "/health/live") == (0, {})


def test_a_browsers_session_is_for_tls_only(server: Running) -> None:
    done = server.ask(None, "POST", "/login", data={"token": server.owner})
    assert done.status_code == 303
    assert "Secure" in done.headers["set-cookie"].split("; ")


# From when on


class ByRest:
    """Makes and revokes tokens at the server."""

    def __init__(self, server: Running) -> None:
        self._server = server

    def make(self, name: str) -> str:
        return self._server.make(f"rest-{name}", query=["churn"])

    def revoke(self, name: str) -> None:
        for status in (200, 404):
            deleted = self._server.ask(self._server.owner, "DELETE", f"{TOKENS}/rest-{name}")
            assert deleted.status_code == status


class ByCommand:
    """Makes and revokes tokens by the command line, which writes past the server."""

    def __init__(self, server: Running, capsys: pytest.CaptureFixture[str]) -> None:
        self._home, self._capsys = ["--home", str(server.home), "--json"], capsys

    def make(self, name: str) -> str:
        assert main(["token", "create", f"command-{name}", "--query", "churn", *self._home]) == 0
        return str(json.loads(self._capsys.readouterr().out)["token"])

    def revoke(self, name: str) -> None:
        assert main(["token", "revoke", f"command-{name}", *self._home]) == 0
        self._capsys.readouterr()


@pytest.fixture(params=["rest", "command"])
def issuer(request: pytest.FixtureRequest, server: Running, capsys: pytest.CaptureFixture[str]) -> ByRest | ByCommand:
    return ByRest(server) if request.param == "rest" else ByCommand(server, capsys)


def test_a_token_counts_and_no_longer_after_its_end(server: Running, issuer: ByRest | ByCommand) -> None:
    secret = issuer.make("brief")
    _all_workers(server, secret, 200)
    issuer.revoke("brief")
    _all_workers(server, secret, 401)


@pytest.mark.alone
def test_that_takes_two_seconds_at_most(server: Running, issuer: ByRest | ByCommand) -> None:
    """Where the first takes longer, for the machine may stall, two more must not."""
    took: list[float] = []
    for name in ("first", "second", "third"):
        secret = issuer.make(name)
        known_s = _all_workers(server, secret, 200)
        issuer.revoke(name)
        took.append(max(known_s, _all_workers(server, secret, 401)))
        if took[0] <= SOON_S:
            return
    assert sorted(took)[1] <= SOON_S, took


def test_a_token_expires_at_its_time(server: Running) -> None:
    for life_s in (15, 60):  # the first may be over before it was ever asked with
        end = datetime.now(UTC) + timedelta(seconds=life_s)
        secret = server.make(f"of-{life_s}-seconds", query=["churn"], expires=end.isoformat())
        if _counts_before(server, secret, end):
            break
    else:
        pytest.fail("it never counted")
    while datetime.now(UTC) < end:
        time.sleep(0.05)
    assert {server.query(secret, "churn").status_code for _ in range(8)} == {401}


def _counts_before(server: Running, secret: str, end: datetime) -> bool:
    """Whether it counts at both workers, as eight answers in a row say, before that time."""
    right = 0
    while right < 8 and datetime.now(UTC) < end:
        right = right + 1 if server.query(secret, "churn").status_code == 200 else 0
    return right == 8


def test_a_replaced_worker_knows_the_tokens(server: Running) -> None:
    secret = server.make("kept", query=["churn"])
    _all_workers(server, secret, 200)
    status = server.ask(server.owner, "GET", "/api/millrace/status").json()
    before = {worker["pid"] for worker in status["workers"]}
    os.kill(min(before), signal.SIGKILL)

    def replaced() -> bool:
        workers = server.ask(server.owner, "GET", "/api/millrace/status").json()["workers"]
        return len({worker.get("pid") for worker in workers if worker["ready"]} - before) == 1

    _until(replaced)
    assert {server.query(secret, "churn").status_code for _ in range(12)} == {200}


# What it may


@pytest.fixture(scope="module")
def ci(server: Running) -> str:
    """A token that may query churn and manage what is called mine."""
    secret, before = server.make("ci", query=["churn"], manage=["mine"]), _answered(server)

    def is_known() -> bool:
        """Whether each worker has answered who has it."""
        server.query(secret, "churn")
        return all(count > before.get(worker, 0) for worker, count in _answered(server).items())

    _until(is_known)
    return secret


def test_querying_takes_the_right_and_tells_no_more(server: Running, ci: str) -> None:
    assert server.query(ci, "churn").json() == {"predictions": [1]}
    there, gone = server.query(ci, "spend"), server.query(ci, "nowhere")
    assert (there.status_code, there.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert (gone.status_code, gone.text) == (403, there.text.replace("spend", "nowhere"))
    assert server.query(server.owner, "nowhere").status_code == 404


def test_rest_takes_the_rights_too(server: Running, ci: str) -> None:
    config = {"served_entities": [{"entity_name": MODEL, "entity_version": "1"}]}
    assert server.ask(ci, "GET", f"{ENDPOINTS}/churn").json()["permission_level"] == "CAN_QUERY"
    for method, path, body in [
        ("GET", f"{ENDPOINTS}/spend", None),
        ("PUT", f"{ENDPOINTS}/churn/config", config),
        ("DELETE", f"{ENDPOINTS}/churn", None),
        ("POST", ENDPOINTS, {"name": "theirs", "config": config}),
    ]:
        refused = server.ask(ci, method, path, json=body)
        assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED"), path
        gone = server.ask(ci, method, path.replace("spend", "nowhere").replace("churn", "nowhere"), json=body)
        assert gone.status_code == 403
    listed = server.ask(ci, "GET", ENDPOINTS).json()["endpoints"]
    assert [found["name"] for found in listed] == ["churn"]
    everything = server.ask(server.owner, "GET", ENDPOINTS).json()["endpoints"]
    assert [(found["name"], found["permission_level"]) for found in everything] == [
        ("churn", "CAN_MANAGE"),
        ("spend", "CAN_MANAGE"),
    ]


def test_managing_one_endpoint(server: Running, ci: str) -> None:
    config = {"served_entities": [{"entity_name": MODEL, "entity_version": "1"}]}
    made = server.ask(ci, "POST", ENDPOINTS, json={"name": "mine", "config": config})
    assert (made.status_code, made.json()["permission_level"], made.json()["creator"]) == (
        200,
        "CAN_MANAGE",
        "token:ci",
    )
    _until(lambda: server.query(ci, "mine").status_code == 200)
    _until(lambda: server.ask(ci, "PUT", f"{ENDPOINTS}/mine/config", json=config).status_code == 200)
    _until(lambda: server.ask(ci, "DELETE", f"{ENDPOINTS}/mine").status_code == 200)
    assert server.ask(ci, "GET", f"{ENDPOINTS}/mine").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/mlflow/"),
        ("GET", "/api/2.0/mlflow/experiments/search?max_results=1"),
        ("POST", "/api/2.0/mlflow/experiments/create"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/x"),
        ("POST", "/graphql"),
        ("GET", "/api/millrace/status"),
        ("POST", "/api/millrace/capture/drain"),
        ("GET", TOKENS),
        ("POST", TOKENS),
        ("DELETE", f"{TOKENS}/ci"),
        ("GET", "/api/2.0/serving-endpointsx"),
        ("GET", "/api/2.2/jobs/list"),
    ],
)
def test_all_else_is_the_owners(server: Running, ci: str, method: str, path: str) -> None:
    refused = server.ask(ci, method, path)
    assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert server.ask(None, method, path).status_code == 401


def test_nobody_says_who_asks_but_the_worker(server: Running, ci: str) -> None:
    forged = {"x-millrace-caller": json.dumps(["user:ada", [], ["*"], True])}
    for headers in (forged, {"X-Millrace-Caller": forged["x-millrace-caller"]}):
        assert server.ask(ci, "GET", "/api/millrace/status", headers=headers).status_code == 403
        assert server.ask(None, "GET", "/api/millrace/status", headers=headers).status_code == 401
        assert [e["name"] for e in server.ask(ci, "GET", ENDPOINTS, headers=headers).json()["endpoints"]] == ["churn"]


def test_a_wrong_host_gets_nothing(server: Running, ci: str) -> None:
    for token in (ci, server.owner, None):
        assert server.ask(token, "GET", ENDPOINTS, headers={"host": "evil.example"}).status_code == 403


def test_the_log_names_the_token(server: Running, ci: str) -> None:
    assert server.query(ci, "churn").status_code == 200
    server.ask(server.owner, "POST", "/api/millrace/capture/drain")
    workspace = open_workspace(server.home)
    requesters = workspace.lake.read("logs.churn_payload", columns=["requester"]).column("requester").to_pylist()
    workspace.close()
    assert "token:ci" in requesters
    assert any(requester.startswith("user:") for requester in requesters)


def test_nothing_of_a_secret_is_in_the_home(server: Running, ci: str) -> None:
    for path in (Path(folder, name) for folder, _, names in os.walk(server.home) for name in names):
        with suppress(FileNotFoundError):  # a drain moves files meanwhile
            assert not path.is_file() or ci.encode() not in path.read_bytes(), path


# When something breaks


@contextmanager
def _away(database: Path, table: str) -> Iterator[None]:
    """Without one of its tables, for as long as this lasts."""
    for there, gone in ((table, f"{table}_away"), (f"{table}_away", table)):
        connection = sqlite3.connect(database, timeout=30)
        connection.execute(f"ALTER TABLE {there} RENAME TO {gone}")
        connection.close()
        if there == table:
            try:
                yield
            except BaseException:
                connection = sqlite3.connect(database, timeout=30)
                connection.execute(f"ALTER TABLE {gone} RENAME TO {there}")
                connection.close()
                raise


def test_no_caller_sees_a_trace(server: Running, ci: str) -> None:
    def plain(response: httpx.Response, status: int) -> None:
        assert response.status_code == status, response.text
        for word in ("Traceback", 'File "', ".py", "sqlalchemy", "SELECT"):
            assert word not in response.text

    with _away(server.home / "millrace.db", "tokens"):
        broken = server.ask(server.owner, "GET", TOKENS)
        plain(broken, 500)
        assert broken.json()["error_code"] == "INTERNAL_ERROR"
        # The workers can't read the tokens either: those that they read last count.
        for worker in ("worker-0", "worker-1"):
            _until(partial(_says, server, worker, "the tokens can't be read"))
        assert server.query(ci, "churn").status_code == 200
    _until(partial(_says, server, "control", "OperationalError"))  # behind its answer
    assert not _says(server, "control", "no such table")  # a database's text may hold what was sent
    with _away(server.home / "mlflow.db", "experiments"):
        for path in (
            "/api/2.0/mlflow/experiments/search?max_results=1",
            "/api/2.0/mlflow/experiments/get?experiment_id=0",
        ):
            failed = server.ask(server.owner, "GET", path)
            plain(failed, 503)
            assert failed.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert server.ask(server.owner, "GET", TOKENS).status_code == 200


def test_what_is_no_http_is_answered_without_a_trace(server: Running) -> None:
    trust = ssl.create_default_context(cafile=str(server.certificate))
    host, port = server.url.removeprefix("https://").split(":")
    for sent in (
        b"nonsense\r\n\r\n",
        b"GET /%00%ff HTTP/1.1\r\nhost: \xff\xfe\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    ):
        with (
            socket.create_connection((host, int(port)), timeout=_PATIENCE_S) as plain,
            trust.wrap_socket(plain, server_hostname=host) as connection,
        ):
            connection.sendall(sent)
            said = connection.recv(65536).decode("latin-1")
            assert said.startswith("HTTP/1.1 4")
            assert "Traceback" not in said


def test_a_control_process_that_dies_is_said_so(server: Running, ci: str) -> None:
    info = read_info(server.home)
    assert info
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(info.pid)], capture_output=True, text=True, check=True
    )
    control = next(int(line.split()[0]) for line in listed.stdout.splitlines() if "api.control" in line)
    os.kill(control, signal.SIGKILL)
    seen = [server.ask(server.owner, "GET", "/api/millrace/status") for _ in range(3)]
    for response in seen:
        assert response.status_code in (200, 502, 503)
        assert "Traceback" not in response.text
        assert response.json()
    assert server.query(ci, "churn").status_code == 200
    _until(lambda: server.ask(server.owner, "GET", TOKENS).status_code == 200)


def _all_workers(server: Running, secret: str, status: int) -> float:
    """Wait until both workers answer who has this token with this status; the seconds after which they did."""
    begun, right, last_s = time.monotonic(), 0, 0.0
    while right < 8:
        asked_s = time.monotonic() - begun
        right = right + 1 if server.query(secret, "churn").status_code == status else 0
        if right == 0:
            last_s = asked_s
            assert last_s < 60, "one of the workers does not know it"
            time.sleep(0.05)
    return last_s


def _answered(server: Running) -> dict[str, float]:
    """How many questions to churn each worker has answered since it started."""
    answered = dict.fromkeys(("0", "1"), 0.0)
    families = text_string_to_metric_families(server.ask(server.owner, "GET", "/metrics").text)
    for sample in (each for family in families for each in family.samples):
        if sample.name == "millrace_requests_total" and sample.labels["endpoint"] == "churn":
            answered[sample.labels["worker"]] += sample.value if sample.labels["status"] == "200" else 0
    return answered


def _says(server: Running, process: str, text: str) -> bool:
    """Whether it is in the process's log."""
    return text in (server.home / "logs" / f"{process}.log").read_text()


def _is_up(server: Running, endpoint: str) -> bool:
    return server.query(server.owner, endpoint).status_code == 200


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
