"""A server whose models have packages of their own, and models that sleep: real processes, from outside."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.api.discovery import running_server
from millrace.core.processes import is_alive
from millrace.workspace import open_workspace
from tests.integration.constant_model import MODEL, ROW, register_constant
from tests.integration.priced_model import kill, write_wheels

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    # MLflow's own, while models are logged in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

ENDPOINTS = "/api/2.0/serving-endpoints"
PRICES = "prices"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only place that packages come from."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(write_wheels(tmp_path / "wheels")))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    workspace = open_workspace(home)
    register_constant(workspace, 1)
    workspace.close()
    return home


@pytest.mark.usefixtures("packages")
def test_two_versions_with_two_versions_of_a_package(home: Path) -> None:
    with running_server(home) as server, _client(server.url, home) as client:
        for version in ("1.0", "2.0", "9.9"):
            _log_priced(server.url, home, version)
        one, two, never = (_entity(PRICES, version) for version in ("1", "2", "3"))
        config = {"served_entities": [one, two], "traffic_config": {"routes": [_route("1", 50), _route("2", 50)]}}
        assert client.post(ENDPOINTS, json={"name": "prices", "config": config}).status_code == 200
        found = _settled(client, "prices")
        paths = [each["state"]["deployment_state_message"] for each in found["config"]["served_entities"]]
        assert paths == [f"process: it needs pricing=={version} (not installed)" for version in ("1.0", "2.0")]

        # Each caller's version answers with its own package.
        answered = {_price(client, f"caller {number}", 1.5) for number in range(40)}
        assert answered == {("prices-1", 15.0), ("prices-2", 30.0)}

        # One that is killed is replaced, and whoever asks waits for it.
        first, second = sorted(_models(server.pid))
        kill(first)
        kill(second)
        assert {_price(client, f"caller {number}", 2.0) for number in range(40)} == {
            ("prices-1", 20.0),
            ("prices-2", 40.0),
        }
        assert len(_models(server.pid)) == 2
        assert not {first, second} & set(_models(server.pid))

        # What can't be had fails the update, and what served goes on.
        assert client.put(f"{ENDPOINTS}/prices/config", json={"served_entities": [never]}).status_code == 200
        found = _settled(client, "prices")
        assert found["state"]["config_update"] == "UPDATE_FAILED"
        assert "could not be installed: pricing==9.9 (not installed)" in found["state"]["message"]
        assert _price(client, "caller 0", 1.0)[1] in {10.0, 20.0}

        # An endpoint that is taken away takes its processes along.
        models = _models(server.pid)
        assert client.delete(f"{ENDPOINTS}/prices").status_code == 200
        _until(lambda: not any(map(is_alive, models)))
        client.post(ENDPOINTS, json={"name": "prices", "config": {"served_entities": [one]}})
        _settled(client, "prices")
        (last,) = _models(server.pid)
    _until(lambda: not is_alive(last))


@pytest.mark.usefixtures("packages")
def test_models_that_nobody_asks_leave_memory_and_come_back(home: Path) -> None:
    with running_server(home) as server, _client(server.url, home) as client:
        _log_priced(server.url, home, "1.0")
        sleepy = {"scale_to_zero_enabled": True, "scale_to_zero_after_s": 2}
        for name, entity in (("prices", _entity(PRICES, "1")), ("churn", _entity(MODEL, "1"))):
            config = {"served_entities": [{**entity, **sleepy}]}
            assert client.post(ENDPOINTS, json={"name": name, "config": config}).status_code == 200
            _settled(client, name)
        # Asleep: its process is gone, and its state says so.
        _until(lambda: not _models(server.pid))
        _until(lambda: all(_state(client, name).startswith("Scaled to zero; ") for name in ("prices", "churn")))
        status = client.get("/api/millrace/status").json()
        assert {each["name"]: each["asleep"] for each in status["endpoints"]} == {
            "prices": ["prices-1"],
            "churn": ["churn-1"],
        }
        assert 'millrace_model_asleep{endpoint="prices",entity="prices-1"} 1.0' in client.get("/metrics").text
        # The first who asks waits for the load and is answered.
        assert _price(client, "first", 1.5) == ("prices-1", 15.0)
        answer = client.post("/serving-endpoints/churn/invocations", json={"dataframe_records": [ROW]})
        assert (answer.status_code, answer.json()) == (200, {"predictions": [1]})
        # It may be asleep again by now.
        _until(lambda: _price(client, "next", 1.5) == ("prices-1", 15.0) and len(_models(server.pid)) == 1)
        bad = {"served_entities": [{**_entity(MODEL, "1"), "scale_to_zero_after_s": "soon"}]}
        refused = client.put(f"{ENDPOINTS}/churn/config", json=bad)
        assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")

    # A server that finds no environments makes them, and serves the others meanwhile.
    shutil.rmtree(home / "envs")
    with running_server(home) as server, _client(server.url, home) as client:
        assert client.post("/serving-endpoints/churn/invocations", json={"dataframe_records": [ROW]}).status_code == 200
        _until(lambda: client.get("/health/ready").status_code == 200, within_s=180)
        assert _price(client, "again", 1.5) == ("prices-1", 15.0)


def _log_priced(url: str, home: Path, version: str) -> None:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_TOKEN", (home / "token").read_text().strip())
            mlflow.pyfunc.log_model(
                name="model",
                loader_module="pricing",
                pip_requirements=[f"pricing=={version}"],
                signature=ModelSignature(Schema([ColSpec(DataType.double, "amount")])),
                registered_model_name=PRICES,
            )
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])


def _client(url: str, home: Path) -> httpx.Client:
    headers = {"authorization": f"Bearer {(home / 'token').read_text().strip()}"}
    return httpx.Client(base_url=url, headers=headers, timeout=90)


def _entity(model: str, version: str) -> dict[str, str]:
    return {"entity_name": model, "entity_version": version}


def _route(version: str, percent: int) -> dict[str, object]:
    return {"served_entity_name": f"prices-{version}", "traffic_percentage": percent}


def _price(client: httpx.Client, caller: str, amount: float) -> tuple[str, float]:
    body = {"client_request_id": caller, "dataframe_records": [{"amount": amount}]}
    answer = client.post("/serving-endpoints/prices/invocations", json=body)
    assert answer.status_code == 200, answer.text
    return answer.headers["served-model-name"], answer.json()["predictions"][0]


def _state(client: httpx.Client, name: str) -> str:
    (entity,) = client.get(f"{ENDPOINTS}/{name}").json()["config"]["served_entities"]
    return str(entity["state"]["deployment_state_message"])


def _settled(client: httpx.Client, name: str, within_s: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found: dict[str, Any] = client.get(f"{ENDPOINTS}/{name}").json()
        if found["state"]["config_update"] != "IN_PROGRESS":
            return found
        time.sleep(0.1)
    raise AssertionError(f"{name} never settled")


def _models(server: int) -> list[int]:
    """The processes that models have of their own."""
    return [model for worker in _children(server) for model in _children(worker)]


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [pid for pid in map(int, listed.stdout.split()) if is_alive(pid)]


def _until(condition: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
