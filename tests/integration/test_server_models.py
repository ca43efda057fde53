"""A server and models that can't be relied upon: real processes, from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.api.discovery import running_server
from millrace.workspace import open_workspace
from tests.integration.constant_model import MODEL, ROW
from tests.integration.own_models import ADDS, HANGS, HANGS_OVER_SOME, NEVER, register_own

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, while models are logged in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

ENDPOINTS = "/api/2.0/serving-endpoints"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("models") / "home"
    workspace = open_workspace(home)
    for predict, example in ((ADDS, [1.0, 2.0]), (NEVER, [1234.5, 2.0]), (ADDS, None), (NEVER, None)):
        register_own(workspace, predict, example)
    workspace.close()
    with running_server(home, workers=2) as server, client_of(server.url, home) as client:
        yield client


def client_of(url: str, home: Path) -> httpx.Client:
    headers = {"authorization": f"Bearer {(home / 'token').read_text().strip()}"}
    return httpx.Client(base_url=url, headers=headers, timeout=90)


def config(version: str) -> dict[str, Any]:
    return {"served_entities": [{"entity_name": MODEL, "entity_version": version}]}


def settled(client: httpx.Client, name: str) -> dict[str, Any]:
    def is_settled() -> bool:
        return bool(client.get(f"{ENDPOINTS}/{name}").json()["state"]["config_update"] != "IN_PROGRESS")

    until(is_settled, within_s=300)
    found: dict[str, Any] = client.get(f"{ENDPOINTS}/{name}").json()
    return found


def until(condition: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def ask(client: httpx.Client, name: str, row: dict[str, float] = ROW) -> httpx.Response:
    return client.post(f"/serving-endpoints/{name}/invocations", json={"dataframe_records": [row]})


def test_a_version_that_cannot_predict_its_own_example_replaces_nothing(client: httpx.Client) -> None:
    assert client.post(ENDPOINTS, json={"name": "safe", "config": config("1")}).status_code == 200
    assert settled(client, "safe")["state"]["ready"] == "READY"
    assert client.put(f"{ENDPOINTS}/safe/config", json=config("2")).status_code == 200
    state = settled(client, "safe")["state"]
    assert (state["ready"], state["config_update"]) == ("READY", "UPDATE_FAILED")
    assert f"model '{MODEL}' version 2 can't predict its own example: KeyError" in state["message"]
    assert "1234.5" not in state["message"]
    answer = ask(client, "safe")
    assert (answer.status_code, answer.json()) == (200, {"predictions": [15.5]})
    assert answer.headers["served-model-name"] == "churn-1"


def test_without_an_example_a_model_is_taken_as_it_is(client: httpx.Client) -> None:
    for version, status in (("3", 200), ("4", 500)):
        name = f"taken-{version}"
        assert client.post(ENDPOINTS, json={"name": name, "config": config(version)}).status_code == 200
        assert settled(client, name)["state"]["ready"] == "READY"
        assert ask(client, name).status_code == status


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_model_that_hangs_does_not_take_the_others_along_for_good(tmp_path: Path) -> None:
    home = tmp_path / "home"
    workspace = open_workspace(home)
    for predict in (HANGS_OVER_SOME, ADDS):
        register_own(workspace, predict)
    with running_server(home, workers=1) as server, client_of(server.url, home) as client:
        for name, version in (("hangs", "1"), ("other", "2")):
            capture = {"auto_capture_config": {"schema_name": "logs", "table_name_prefix": name}}
            client.post(ENDPOINTS, json={"name": name, "config": {**config(version), **capture}})
            assert settled(client, name)["state"]["ready"] == "READY"
        acknowledged = {ask(client, name).headers["databricks-request-id"]: name for name in ("hangs", "other")}
        before = pid_of(client)
        with ThreadPoolExecutor(2) as beside:
            hung = beside.submit(status_of, server.url, home, "hangs", HANGS)
            in_flight = 'millrace_requests_in_flight{endpoint="hangs",worker="0"} 1.0'
            until(lambda: in_flight in client.get("/metrics").text)
            held_up = beside.submit(status_of, server.url, home, "other", 1.0)
            # Whoever asked it, and whoever waits behind it for another model, is told so.
            assert hung.result() == 504
            assert held_up.result() in {503, 504}
            # Who comes later waits until the worker ends.
            held_up = beside.submit(status_of, server.url, home, "other", 1.0)
            until(lambda: pid_of(client) not in {None, before}, within_s=300)
            assert held_up.result() in {0, 503, 504}
        until(lambda: ask(client, "other").status_code == ask(client, "hangs").status_code == 200)
        assert client.post("/api/millrace/capture/drain").status_code == 200
    lines = [json.loads(line) for line in (home / "logs" / "worker-0.log").read_text().splitlines()]
    (said,) = [line["message"] for line in lines if "has not answered for" in line["message"]]
    assert "in predict" in said  # where it hangs
    for request, name in acknowledged.items():
        rows = workspace.lake.read(f"logs.{name}_predictions", columns=["request_id"])
        assert rows.column("request_id").to_pylist().count(request) == 1
    workspace.close()


def pid_of(client: httpx.Client) -> int | None:
    """The worker's process, once it is ready."""
    (worker,) = client.get("/api/millrace/status").json()["workers"]
    return worker["pid"] if worker["ready"] else None


def status_of(url: str, home: Path, name: str, spend: float) -> int:
    """What a caller gets; 0 where the connection is lost."""
    with client_of(url, home) as client:
        try:
            return ask(client, name, {**ROW, "spend": spend}).status_code
        except httpx.TransportError:
            return 0
