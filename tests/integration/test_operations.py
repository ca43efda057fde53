"""What who runs a server looks at and brings, on a running one: metrics, health, logs, late labels."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families  # noqa: TID253 - a test
from xgboost import XGBClassifier  # noqa: TID253 - a test

from millrace.api.discovery import running_server
from millrace.cli.main import main
from millrace.core.names import TableName
from millrace.core.principal import Principal
from millrace.features.online.publish import publish
from millrace.features.spec import to_json
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import FeatureLookup, FeatureSpec
from millrace.serving.endpoints import endpoints
from millrace.serving.types import Capture, LoadPlan, ServedEntity
from millrace.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

SPEND, LATE = "ml.features.spend", "ml.features.late"
COLUMNS = ["spend", "visits"]
SENT = "sent-value"
_PATIENCE_S = 120


@dataclass(frozen=True)
class Running:
    """A server of two workers over a model with a lookup, and over a feature spec whose table is not online yet."""

    url: str
    token: str
    home: Path
    workspace: Workspace

    def get(self, path: str, *, token: bool = True, **headers: str) -> httpx.Response:
        bearer = {"authorization": f"Bearer {self.token}"} if token else {}
        return httpx.get(self.url + path, headers={**bearer, **headers}, timeout=_PATIENCE_S)

    def ask(self, body: object, endpoint: str = "churn", **headers: str) -> httpx.Response:
        url = f"{self.url}/serving-endpoints/{endpoint}/invocations"
        return httpx.post(
            url, json=body, headers={"authorization": f"Bearer {self.token}", **headers}, timeout=_PATIENCE_S
        )

    def samples(self) -> Mapping[str, list[tuple[Mapping[str, str], float]]]:
        """Of each metric its samples: labels and value."""
        response = self.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(response.text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    def total(self, name: str, **labels: str) -> float:
        return sum(value for given, value in self.samples().get(name, []) if labels.items() <= given.items())

    def logged(self) -> list[dict[str, Any]]:
        """All lines of all logs that are whole."""
        texts = [path.read_text().rpartition("\n")[0] for path in (self.home / "logs").glob("*.log")]
        return [json.loads(line) for text in texts for line in text.splitlines()]


def eventually(check: Callable[[], bool], within_s: float = 150.0) -> None:
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def _publish(workspace: Workspace, name: str) -> None:
    publish(workspace.lake, workspace.online, name, as_of=workspace.clock.now())


def _features(workspace: Workspace) -> None:
    schema = pa.schema({"customer_id": pa.int64(), "ts": pa.timestamp("us", "UTC"), "spend": pa.float64()})
    for name in (SPEND, LATE):
        create_feature_table(workspace.lake, name, schema, primary_keys="customer_id", timeseries_column="ts")
        hour_ago = workspace.clock.now() - timedelta(hours=1)
        rows = {"customer_id": list(range(10)), "ts": [hour_ago] * 10, "spend": [float(n) for n in range(10)]}
        write_feature_rows(workspace.lake, name, pa.table(rows, schema=schema))
    _publish(workspace, SPEND)


def _model(folder: Path) -> Path:
    random = np.random.default_rng(1)
    rows = random.normal(size=(200, 2))
    model = XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1).fit(rows, (rows[:, 0] > 0).astype(int))
    folder.mkdir()
    model.save_model(folder / "model.ubj")
    signature = json.dumps([{"name": name, "type": "double"} for name in COLUMNS])
    flavor = {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier", "model_format": "ubj"}
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"xgboost": flavor}, "signature": {"inputs": signature}}))
    return folder


def _deploy(workspace: Workspace, name: str, plan: LoadPlan) -> None:
    config = endpoints.endpoint_config(plan.entity, capture=Capture("ml", "logs", name))
    made = endpoints.create(workspace.endpoints, workspace.clock, Principal("user", "ada"), name, config)
    ready = endpoints.candidate(made, (plan,))
    # As it was when it was deployed, with libraries of then.
    endpoints.activate(workspace.endpoints, workspace.clock, ready, {plan.entity.name: "pyfunc: of long ago"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("operations") / "home"
    workspace = open_workspace(home)
    _features(workspace)
    model = ServedEntity("churn-1", "ml.models.churn", "1")
    lookup = FeatureLookup(SPEND, "customer_id", timestamp_lookup_key="at")
    spec = to_json(FeatureSpec((lookup,), None, (), ("spend", "visits"), ("visits",)))
    inputs = tuple((name, "double") for name in COLUMNS)
    _deploy(workspace, "churn", LoadPlan(model, str(_model(home / "model")), "xgboost", inputs, spec))
    late = FeatureSpec((FeatureLookup(LATE, "customer_id", timestamp_lookup_key="at"),), None, (), ("spend",))
    _deploy(
        workspace, "late", LoadPlan(ServedEntity("late", "ml.specs.late", None), "", "feature_spec", (), to_json(late))
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MILLRACE_ACCESS_LOG", "1")
        with running_server(home, workers=2) as info:
            running = Running(info.url, (home / "token").read_text().strip(), home, workspace)
            # Its model is proved first, while the server is up.
            eventually(lambda: running.get("/health/ready").json()["not_ready"].keys() == {"late"}, 200)
            yield running
    workspace.close()


def test_an_endpoint_that_waits_is_named_to_those_who_may_know(
    server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.get("/health/started", token=False).status_code == 200
    anybody = server.get("/health/ready", token=False)
    assert (anybody.status_code, anybody.json()["status"], anybody.json()["endpoints"]) == (503, "not ready", False)
    assert "late" not in anybody.text
    owner = server.get("/health/ready").json()
    assert owner["workers"] is True
    assert owner["not_ready"].keys() == {"late"}
    assert LATE in owner["not_ready"]["late"]
    shown = server.get("/api/2.0/serving-endpoints/late").json()
    assert shown["state"]["ready"] == "NOT_READY"
    assert shown["config"]["served_entities"][0]["state"]["deployment"] == "DEPLOYMENT_RECOVERING"
    assert server.ask({"inputs": {"customer_id": [1]}}, "late").status_code == 503
    assert server.total("millrace_endpoint_ready", endpoint="churn") == 1
    assert server.total("millrace_endpoint_ready", endpoint="late") == 0
    assert _listed(server, capsys) == {"churn": True, "late": False}
    _publish(server.workspace, LATE)
    # The workers look again ever more seldom, at most a minute later.
    eventually(lambda: server.get("/health/ready", token=False).status_code == 200)
    assert server.ask({"inputs": {"customer_id": [1]}}, "late").json() == {"outputs": [{"spend": 1.0}]}
    assert _listed(server, capsys) == {"churn": True, "late": True}


def _listed(server: Running, capsys: pytest.CaptureFixture[str]) -> dict[str, bool]:
    assert main(["endpoint", "list", "--home", str(server.home), "--json"]) == 0
    return {each["name"]: each["ready"] for each in json.loads(capsys.readouterr().out)["endpoints"]}


def test_the_path_is_that_of_what_is_loaded_and_not_of_what_once_was(
    server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    status = server.get("/api/millrace/status").json()
    told = next(each["paths"]["churn-1"] for each in status["endpoints"] if each["name"] == "churn")
    path, _, why = told.partition(": ")
    assert path in {"onnx", "onnx+xgboost"}
    assert why.startswith("equal to the model's own predict on ")
    assert [worker["paths"]["churn"] for worker in status["workers"]] == [{"churn-1": told}] * 2
    (entity,) = server.get("/api/2.0/serving-endpoints/churn").json()["config"]["served_entities"]
    assert entity["state"]["deployment_state_message"] == told
    info = server.samples()["millrace_predict_path_info"]
    assert [labels["path"] for labels, _ in info if labels["endpoint"] == "churn"] == [path]
    assert main(["endpoint", "show", "churn", "--home", str(server.home), "--json"]) == 0
    assert [each["path"] for each in json.loads(capsys.readouterr().out)["entities"]] == [told]


def test_metrics_take_the_token(server: Running) -> None:
    assert server.get("/metrics", token=False).status_code == 401
    accepts = server.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert accepts.headers["content-type"].startswith("application/openmetrics-text")
    assert accepts.text.endswith("# EOF\n")


def test_what_is_answered_is_counted_over_all_workers(server: Running) -> None:
    served = {"endpoint": "churn", "entity": "churn-1"}
    rows, durations = (
        server.total(f"millrace_{name}", **served) for name in ("rows_total", "request_duration_seconds_count")
    )
    for _ in range(6):
        assert server.ask({"inputs": {"customer_id": [1, 2], "visits": [1, 2]}}).status_code == 200
    assert server.ask({"inputs": {"customer_id": [1]}}).status_code == 400
    assert server.total("millrace_rows_total", **served) == rows + 12
    assert server.total("millrace_request_duration_seconds_count", **served) == durations + 7
    assert server.total("millrace_requests_total", **served, status="200") >= 6
    assert server.total("millrace_requests_total", **served, status="400") >= 1
    samples = server.samples()
    assert sorted(samples["millrace_process_up"], key=str) == [
        ({"process": "control"}, 1.0),
        ({"process": "worker-0"}, 1.0),
        ({"process": "worker-1"}, 1.0),
    ]
    ((age_labels, age),) = [each for each in samples["millrace_feature_age_seconds"] if each[0]["endpoint"] == "churn"]
    assert age_labels["table"] == SPEND
    assert 3600 <= age < 3600 + 600
    ((_, published),) = [
        each for each in samples["millrace_feature_published_age_seconds"] if each[0]["endpoint"] == "churn"
    ]
    assert 0 <= published < 600
    assert samples["millrace_online_store_up"] == [({}, 1.0)]

    def waits() -> bool:  # a drain may take it before it is seen
        answered = server.ask({"inputs": {"customer_id": [1], "visits": [1]}}).status_code == 200
        return answered and server.total("millrace_capture_waiting_segments") >= 1

    eventually(waits)


def test_a_worker_that_is_replaced_says_so_and_counts_anew(server: Running) -> None:
    pids = [worker["pid"] for worker in server.get("/api/millrace/status").json()["workers"]]
    os.kill(pids[0], signal.SIGKILL)
    eventually(lambda: server.total("millrace_process_restarts_total", process="worker-0") == 1)
    eventually(lambda: server.get("/health/ready").status_code == 200)
    assert server.total("millrace_process_restarts_total", process="worker-1") == 0
    counted = server.total("millrace_requests_total", endpoint="churn", worker="0")
    for _ in range(20):
        assert server.ask({"inputs": {"customer_id": [1], "visits": [1]}}).status_code == 200
    assert server.total("millrace_requests_total", endpoint="churn", worker="0") >= counted
    said = [line["message"] for line in server.logged() if line["process"] == "supervisor"]
    assert said.count("worker-0 ended with code -9 and is started again") == 1


def _ids(server: Running, *customers: int) -> list[str]:
    """Predictions that nobody has drained yet: the ids of their requests."""
    bodies = [{"inputs": {"customer_id": [customer], "visits": [1]}} for customer in customers]
    return [server.ask(body).headers["databricks-request-id"] for body in bodies]


def _labels(server: Running) -> dict[str, float | None]:
    rows = server.workspace.lake.read("ml.logs.churn_predictions", columns=["request_id", "actual_label"]).to_pylist()
    return {row["request_id"]: row["actual_label"] for row in rows}


def _done(joined: int = 0, already: int = 0, conflicting: int = 0, unmatched: int = 0) -> dict[str, int]:
    return {"joined": joined, "already": already, "conflicting": conflicting, "unmatched": unmatched}


def test_labels_come_from_a_file_right_after_the_predictions(
    server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*more: str) -> tuple[int, Any]:
        code = main(["labels", "import", "churn", str(file), "--home", str(server.home), "--json", *more])
        told = capsys.readouterr()
        return code, json.loads(told.out) if code == 0 else told.err

    one, two, three = _ids(server, 1, 2, 3)
    file = tmp_path / "labels.csv"
    file.write_text(f"request_id,churned\n{one},true\n{two},false\nnobody,true\n")
    code, told = run("--label", "churned")
    assert (code, {name: told[name] for name in _done()}) == (0, _done(joined=2, unmatched=1))
    assert (told["rows"], told["labels"], told["table"]) == (3, 3, "ml.logs.churn_predictions")
    code, told = run("--label", "churned")
    assert {name: told[name] for name in _done()} == _done(already=2, unmatched=1)
    file.write_text(f"request_id,row,label\n{one},0,0\n{three},0,1\n")
    code, told = run("--dry-run")
    assert ({name: told[name] for name in _done()}, told["dry_run"]) == (_done(joined=1, conflicting=1), True)
    assert (_labels(server)[one], _labels(server)[three]) == (1.0, None)
    assert main(["labels", "import", "churn", str(file), "--home", str(server.home)]) == 0
    assert "predictions that got theirs" in capsys.readouterr().out
    assert (_labels(server)[one], _labels(server)[two], _labels(server)[three]) == (1.0, 0.0, 1.0)
    file.write_text(f"request_id,row,label\n{one},0,1\n{one},first,1\n")
    code, said = run()
    assert code == 1
    assert "line 3: 'first' in column 'row'" in said


def test_labels_come_over_rest_by_whoever_may_manage_the_endpoint(server: Running) -> None:
    path, bearer = "/api/millrace/endpoints/churn/labels", {"authorization": f"Bearer {server.token}"}

    def post(json_body: object = None, **more: Any) -> httpx.Response:
        headers = bearer | more.pop("headers", {})
        return httpx.post(server.url + path, json=json_body, headers=headers, timeout=_PATIENCE_S, **more)

    (seven,) = _ids(server, 7)
    now = server.workspace.clock.now()
    at = [{"customer_id": 7, "label_time": (now - timedelta(hours=hours)).isoformat(), "label": 1} for hours in (1, 90)]
    by_key = {"labels": at, "keys": ["customer_id"], "tolerance_days": 0.5}
    told = post(by_key).json()
    assert {name: told[name] for name in _done()} == _done(joined=1, unmatched=1)
    assert _labels(server)[seven] == 1.0
    (eight,) = _ids(server, 8)
    csv = {"content": f"request_id,outcome\n{seven},1\n{eight},0\n", "headers": {"content-type": "text/csv"}}
    told = post(params={"label": "outcome"}, **csv).json()
    assert {name: told[name] for name in _done()} == _done(joined=1, already=1)
    wrong = post({"labels": [{"request_id": seven, "label": 1}, {"request_id": 5, "label": 1}]})
    assert (wrong.status_code, wrong.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "line 2" in wrong.json()["message"]
    made = {"name": "asker", "query": ["churn"]}
    asker = httpx.post(f"{server.url}/api/millrace/tokens", json=made, headers=bearer, timeout=_PATIENCE_S).json()[
        "token"
    ]
    eventually(lambda: post({}, headers={"authorization": f"Bearer {asker}"}).status_code == 403)
    path = "/api/millrace/endpoints/nobody/labels"
    assert post({"labels": []}).status_code == 404


def test_each_line_of_a_log_is_json_with_the_request_and_none_of_its_values(server: Running) -> None:
    body = {"dataframe_records": [{"customer_id": 1, "visits": SENT}], "client_request_id": SENT}
    bad = server.ask(body, **{"x-request-id": SENT})
    assert bad.status_code == 400
    server.workspace.online.remove(TableName.parse(SPEND))
    failed = server.ask({"inputs": {"customer_id": [1], "visits": [1]}})
    _publish(server.workspace, SPEND)
    assert failed.status_code == 500
    asked = {each.headers["databricks-request-id"] for each in (bad, failed)}
    eventually(lambda: asked <= _accesses(server.logged()).keys())  # they are written behind the answers
    lines = server.logged()
    assert all({"time", "level", "process", "logger", "message"} <= line.keys() for line in lines)
    access = _accesses(lines)[bad.headers["databricks-request-id"]]
    assert (access["status"], access["endpoint"], access["method"]) == (400, "churn", "POST")
    (why,) = [line for line in lines if line["level"] == "ERROR" and line.get("request_id") in asked]
    assert why["request_id"] == failed.headers["databricks-request-id"]
    assert (why["endpoint"], why["logger"]) == ("churn", "millrace.serving.requests.exchange")
    assert SPEND in why["message"]
    everything = json.dumps(lines)
    assert SENT not in everything
    assert server.token not in everything


def _accesses(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By request the line that says what it was answered."""
    return {line["request_id"]: line for line in lines if line["logger"] == "millrace.access" and "request_id" in line}
