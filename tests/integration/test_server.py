"""One running server, and all that speaks to it: browsers, MLflow's client, Databricks' shapes, our own target."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.api.discovery import find_server, running_server
from millrace.core.errors import InvalidState, NotFound, PermissionDenied
from millrace.registry.types import ModelName
from millrace.serving.endpoints.endpoints import served_entity
from millrace.serving.models.predictor import load_predictor
from millrace.serving.types import LoadPlan
from millrace.targets.adapters.millrace_http import MillraceTarget
from millrace.targets.types import DeploymentSpec
from millrace.workspace import open_workspace
from tests.integration.constant_model import MODEL, ROW, register_constant

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, while models are logged and read in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

ENDPOINTS = "/api/2.0/serving-endpoints"
_PATIENCE_S = 180  # the first who needs MLflow waits for it


@dataclass(frozen=True)
class Running:
    """The server under test."""

    url: str
    token: str
    home: Path

    def client(self, *, token: bool = True) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=_PATIENCE_S)

    def target(self) -> MillraceTarget:
        return MillraceTarget(self.url, self.token)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    # Deeper than a unix socket's path may be long: the sockets must move elsewhere.
    home = tmp_path_factory.mktemp("server") / ("long-" * 16) / "home"
    workspace = open_workspace(home)
    register_constant(workspace, 0)
    register_constant(workspace, 1)
    broken = register_constant(workspace, 1)
    for file in broken.iterdir():
        if file.name != "MLmodel":
            file.write_bytes(b"damaged")
    workspace.close()
    with running_server(home, workers=2) as info:
        yield Running(info.url, (home / "token").read_text().strip(), home)
    assert find_server(home) is None


# Who gets in


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/serving-endpoints/churn/invocations"),
        ("GET", ENDPOINTS),
        ("GET", "/api/2.0/mlflow/experiments/search?max_results=1"),
        ("POST", "/api/2.0/mlflow/experiments/create"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/x"),
        ("POST", "/graphql"),
        ("GET", "/mlflow/"),
        ("GET", "/mlflow/static-files/favicon.ico"),
        ("GET", "/api/millrace/status"),
        ("POST", "/api/millrace/capture/drain"),
        ("GET", "/"),
        ("GET", "/nothing"),
    ],
)
def test_without_the_token_nothing_is_answered(server: Running, method: str, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {server.token}"}):
        response = httpx.request(method, server.url + path, headers=headers, timeout=_PATIENCE_S)
        assert response.status_code == 401
        assert response.json()["error_code"] == "UNAUTHENTICATED"


def test_the_token_is_for_its_owner_only(server: Running) -> None:
    assert stat.S_IMODE((server.home / "token").stat().st_mode) == 0o600


def test_health_and_the_databricks_probe_are_open(server: Running) -> None:
    with server.client(token=False) as client:
        assert client.get("/health").text == "OK"
        assert client.get("/health/live").json()["status"] == "ok"
        assert client.get("/health/ready").json() == {"status": "ok", "workers": True, "endpoints": True}
        assert client.get("/health/started").json() == {"status": "ok", "workers": True}
        assert client.get("/.well-known/databricks-config").json()["oidc_endpoint"].startswith(server.url)


def test_a_browser_logs_in_once(server: Running) -> None:
    with httpx.Client(base_url=server.url, headers={"accept": "text/html"}, timeout=_PATIENCE_S) as browser:
        sent_away = browser.get("/mlflow/")
        assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/login?next=/mlflow/")
        assert 'name="token"' in browser.get("/login?next=/mlflow/").text
        assert browser.post("/login", data={"token": "wrong"}).status_code == 401
        done = browser.post("/login?next=/mlflow/", data={"token": server.token})
        assert (done.status_code, done.headers["location"]) == (303, "/mlflow/")
        assert {"HttpOnly", "SameSite=Strict"} <= set(done.headers["set-cookie"].split("; "))
        assert browser.get("/mlflow/").status_code == 200
        assert browser.post("/logout").status_code == 303
        assert browser.get("/mlflow/").status_code == 303


def test_a_foreign_host_or_page_gets_nothing(server: Running) -> None:
    with server.client() as client:
        for path in ("/health/live", ENDPOINTS, "/mlflow/"):
            assert client.get(path, headers={"host": "evil.example"}).status_code == 403
    with httpx.Client(base_url=server.url, timeout=_PATIENCE_S) as browser:
        browser.post("/login", data={"token": server.token})
        assert browser.get(ENDPOINTS).status_code == 200
        refused = browser.post("/api/millrace/capture/drain", headers={"origin": "http://evil.example"})
        assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")


# MLflow on the same port


@pytest.mark.parametrize("prefix", ["", "/mlflow"])
def test_mlflows_client_works_through_the_port(
    server: Running, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", server.token)
    client = MlflowClient(tracking_uri=server.url + prefix)
    experiment = client.create_experiment(f"by hand{prefix.replace('/', ' ')}")
    run = client.create_run(experiment)
    client.log_metric(run.info.run_id, "auc", 0.75)
    client.log_text(run.info.run_id, "kept", "notes/a.txt")
    assert client.get_run(run.info.run_id).data.metrics == {"auc": 0.75}
    fetched = client.download_artifacts(run.info.run_id, "notes/a.txt", str(tmp_path))
    assert Path(fetched).read_text() == "kept"
    assert list((server.home / "mlartifacts").rglob("a.txt"))


def test_what_millrace_logged_itself_shows_in_mlflow(server: Running) -> None:
    with server.client() as client:
        search = {"experiment_ids": [_experiment(client, "churn")], "max_results": 1}
        run = client.post("/api/2.0/mlflow/runs/search", json=search).json()["runs"][0]
        run_id = run["info"]["run_id"]
        listed = client.get("/ajax-api/2.0/mlflow/artifacts/list", params={"run_id": run_id}).json()
        assert [file["path"] for file in listed["files"]] == ["notes.txt"]
        for prefix in ("", "/mlflow"):
            shown = client.get(f"{prefix}/get-artifact", params={"run_id": run_id, "path": "notes.txt"})
            assert shown.text == "how it was made"
        versions = client.get("/api/2.0/mlflow/registered-models/get", params={"name": MODEL}).json()
        assert versions["registered_model"]["name"] == MODEL


def test_mlflows_pages_load(server: Running) -> None:
    with server.client() as client:
        page = client.get("/mlflow", follow_redirects=True)
        assert page.url.path == "/mlflow/"
        script = re.search(r'src="(static-files/[^"]+\.js)"', page.text)
        assert script
        loaded = client.get(f"/mlflow/{script.group(1)}")
        assert loaded.status_code == 200
        assert "javascript" in loaded.headers["content-type"]
        assert client.get("/mlflow/ajax-api/2.0/mlflow/experiments/search?max_results=1").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/mlflow/gateway/x/mlflow/invocations",
        "/gateway/mlflow/v1/models",
        "/ajax-api/3.0/mlflow/assistant/config",
        "/mlflow/ajax-api/3.0/mlflow/assistant/config",
        "/ajax-api/3.0/jobs/1",
        "/ajax-api/2.0/mlflow/gateway-proxy",
        "/v1/traces",
    ],
)
def test_mlflows_other_services_are_closed(server: Running, path: str) -> None:
    with server.client() as client:
        assert client.get(path).status_code == 404


# Endpoints


def test_an_endpoint_is_made_updated_asked_and_deleted(server: Running) -> None:
    with server.client() as client:
        entity = {"entity_name": MODEL, "entity_version": "1", "workload_size": "Small", "scale_to_zero_enabled": False}
        made = client.post(
            ENDPOINTS, json={"name": "crud", "config": {"served_entities": [entity]}}, timeout=_PATIENCE_S
        )
        assert made.status_code == 200
        assert _settled(client, "crud")["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}
        assert _ask(client, "crud").json() == {"predictions": [0]}

        legacy = {"served_models": [{"name": "new", "model_name": MODEL, "model_version": "2"}]}
        assert client.put(f"{ENDPOINTS}/crud/config", json=legacy, timeout=_PATIENCE_S).status_code == 200
        after = _settled(client, "crud")
        assert after["config"]["config_version"] == 2
        assert [served["entity_version"] for served in after["config"]["served_entities"]] == ["2"]
        assert after["config"]["traffic_config"]["routes"][0]["traffic_percentage"] == 100
        # Both workers answer, so ask often enough to reach each.
        answers = [_ask(client, "crud") for _ in range(20)]
        assert {answer.json()["predictions"][0] for answer in answers} == {1}
        assert {answer.headers["served-model-name"] for answer in answers} == {"new"}

        assert [found["name"] for found in client.get(ENDPOINTS).json()["endpoints"]] == ["crud"]
        assert client.delete(f"{ENDPOINTS}/crud").status_code == 200
        assert client.get(f"{ENDPOINTS}/crud").status_code == 404
        assert _ask(client, "crud").status_code == 404


def test_an_update_that_fails_leaves_the_old_version_serving(server: Running) -> None:
    target = server.target()
    assert target.deploy(DeploymentSpec("safe", MODEL, "1")).state == "ready"
    failed = target.deploy(DeploymentSpec("safe", MODEL, "3"))
    assert (failed.state, failed.version) == ("failed", "1")
    assert failed.message
    assert target.query("safe", [ROW]).predictions == (0,)
    assert target.deploy(DeploymentSpec("safe", MODEL, "2")).state == "ready"
    assert target.query("safe", [ROW]).model_version == "2"
    target.remove("safe")


class Marker:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_from_elsewhere_is_never_loaded(server: Running, tmp_path: Path) -> None:
    marker, elsewhere = tmp_path / "unpickled", tmp_path / "elsewhere"
    workspace = open_workspace(server.home)
    own = register_constant(workspace, 1)  # in the store, but its pickle will be elsewhere
    shutil.copytree(own, elsewhere)
    (elsewhere / "model.pkl").write_bytes(pickle.dumps(Marker(marker)))
    described = (own / "MLmodel").read_text().replace("format: skops", "format: cloudpickle")
    out_of_it = os.path.relpath(elsewhere / "model.pkl", own)
    (own / "MLmodel").write_text(re.sub("pickled_model: .*", f"pickled_model: {out_of_it}", described))
    (elsewhere / "MLmodel").write_text(re.sub("pickled_model: .*", "pickled_model: model.pkl", described))
    leading_out = workspace.registry.versions(ModelName(MODEL))[-1].version
    planted = workspace.registry.register(ModelName("ml.models.planted"), str(elsewhere), None, {})
    workspace.close()
    with server.client() as client:
        for model, version, says in ((MODEL, leading_out, "leads out"), (planted.model, planted.version, "lies at")):
            config = {"served_entities": [{"entity_name": model, "entity_version": version}]}
            refused = client.post(ENDPOINTS, json={"name": "planted", "config": config}, timeout=_PATIENCE_S)
            assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")
            assert says in refused.json()["message"]
            assert client.get(f"{ENDPOINTS}/planted").status_code == 404
    # A worker that is given such a folder refuses it as well.
    plan = LoadPlan(served_entity(MODEL, str(leading_out)), str(own), "sklearn", (("spend", "double"),), None)
    with pytest.raises(PermissionDenied):
        load_predictor(plan)
    assert not marker.exists()
    pickle.loads((elsewhere / "model.pkl").read_bytes())  # noqa: S301 - our own: it would have been noticed
    assert marker.exists()


def test_a_model_that_mlflows_client_logged_is_served(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.dummy import DummyClassifier

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", server.token)
    before, before_registry = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(server.url)
    mlflow.set_registry_uri(server.url)
    try:
        # Not set_experiment: that would be so for all tests of this process.
        experiment = mlflow.create_experiment("by a client")
        rows = pd.DataFrame([ROW, ROW])
        model = DummyClassifier(strategy="constant", constant=1).fit(rows, [0, 1])
        with mlflow.start_run(experiment_id=experiment):
            mlflow.sklearn.log_model(
                model,
                name="model",
                registered_model_name="by_client",
                signature=infer_signature(rows, model.predict(rows)),
                pip_requirements=["scikit-learn"],
            )
    finally:
        mlflow.set_tracking_uri(before)
        mlflow.set_registry_uri(before_registry)
    target = server.target()
    assert target.deploy(DeploymentSpec("by-client", "by_client", "1")).state == "ready"
    assert target.query("by-client", [ROW]).predictions == (1,)
    target.remove("by-client")


def test_errors_have_databricks_shape(server: Running) -> None:
    def refused(response: httpx.Response) -> tuple[int, str]:
        return response.status_code, response.json()["error_code"]

    one = {"served_entities": [{"entity_name": MODEL, "entity_version": "1"}]}
    with server.client() as client:
        client.post(ENDPOINTS, json={"name": "taken", "config": one}, timeout=_PATIENCE_S)
        _settled(client, "taken")
        again = client.post(ENDPOINTS, json={"name": "taken", "config": one})
        assert refused(again) == (409, "RESOURCE_ALREADY_EXISTS")
        assert refused(client.get(f"{ENDPOINTS}/nope")) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert refused(client.put(f"{ENDPOINTS}/nope/config", json=one)) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert refused(client.delete(f"{ENDPOINTS}/nope")) == (404, "RESOURCE_DOES_NOT_EXIST")
        no_version = {"served_entities": [{"entity_name": MODEL, "entity_version": "99"}]}
        missing = client.post(ENDPOINTS, json={"name": "new", "config": no_version})
        assert refused(missing) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert "1, 2, 3" in missing.json()["message"]
        for bad in (b"{", b"[]", b'{"config": {}}', b'{"name": "a", "config": {"served_entities": [{}]}}'):
            assert refused(client.post(ENDPOINTS, content=bad)) == (400, "INVALID_PARAMETER_VALUE")
        assert refused(client.get("/api/2.2/jobs/list")) == (501, "NOT_IMPLEMENTED")
        assert refused(client.get("/api/millrace/nope")) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert refused(client.put(ENDPOINTS)) == (405, "METHOD_NOT_ALLOWED")
        client.delete(f"{ENDPOINTS}/taken")


def test_deploying_what_is_served_changes_nothing(server: Running) -> None:
    target = server.target()
    spec = DeploymentSpec("same", MODEL, "2", capture=("main", "ml_logs", "same"))
    first = target.deploy(spec)
    with server.client() as client:
        before = client.get(f"{ENDPOINTS}/same").json()
        assert target.deploy(spec) == first
        assert client.get(f"{ENDPOINTS}/same").json() == before
    answers = target.query("same", [ROW, ROW])
    assert answers.predictions == (1, 1)
    assert answers.model_version == "2"
    assert answers.request_id
    with pytest.raises(NotFound):
        target.query("another", [ROW])
    assert target.status("another") is None
    target.remove("same")
    target.remove("same")


def test_what_was_captured_is_drained_on_command(server: Running) -> None:
    target = server.target()
    target.deploy(DeploymentSpec("logged", MODEL, "2", capture=("main", "inference_logs", "logged")))
    target.drain()
    for _ in range(5):
        target.query("logged", [ROW, ROW])
    # The server's own drain process may have moved some already: what counts is that all are there, once.
    target.drain()
    workspace = open_workspace(server.home)
    assert workspace.lake.read("inference_logs.logged_predictions").num_rows == 10
    workspace.close()
    target.remove("logged")


def test_status_names_the_parts(server: Running) -> None:
    with server.client() as client:
        status = client.get("/api/millrace/status").json()
    assert [worker["ready"] for worker in status["workers"]] == [True, True]
    assert len({worker["pid"] for worker in status["workers"]} | {os.getpid()}) == 3
    assert (status["mlflow"]["path"], status["virtual_time"]) == ("/mlflow/", False)


def test_a_server_that_is_not_there_is_said_so() -> None:
    with pytest.raises(InvalidState) as caught:
        MillraceTarget("http://127.0.0.1:9", "token").status("churn")
    assert "millrace up" in caught.value.hint


def _experiment(client: httpx.Client, name: str) -> str:
    found = client.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": name}).json()
    return str(found["experiment"]["experiment_id"])


def _settled(client: httpx.Client, name: str) -> dict[str, dict[str, Any]]:
    # A model is proved first, in a process that imports its libraries: seconds, and more where much else runs.
    for _ in range(1200):
        found: dict[str, dict[str, Any]] = client.get(f"{ENDPOINTS}/{name}").json()
        if found["state"]["config_update"] != "IN_PROGRESS":
            return found
        time.sleep(0.1)
    raise AssertionError(f"{name} never settled")


def _ask(client: httpx.Client, name: str) -> httpx.Response:
    return client.post(f"/serving-endpoints/{name}/invocations", json={"dataframe_records": [ROW]})
