from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from millrace.api.runtime import ServerInfo, write_info
from millrace.core.principal import Principal
from millrace.serving.endpoints import endpoints
from millrace.serving.types import Capture, LoadPlan, ServedEntity
from millrace.targets.local_server import only_server
from millrace.workspace import Workspace, open_workspace
from tests.unit.cli.conftest import Cli

NOW = datetime(2025, 3, 10, tzinfo=UTC)
MODEL, SPEC = ServedEntity("churn-3", "ml.models.churn", "3"), ServedEntity("spend", "ml.specs.spend", None)
ANSWERS: dict[str, dict[str, object]] = {
    "spend": {"outputs": [{"total": "12.50", "visits": None}, {"total": None, "visits": 3}]},
    "churn": {"predictions": [0, 1], "probabilities": [0.25, 0.75]},
}


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    opened = open_workspace(home)
    opened.clock.set(NOW)
    for entity in (MODEL, SPEC):
        config = endpoints.endpoint_config(entity, capture=Capture("ml", "logs", "p"))
        name = entity.entity_name.rpartition(".")[2]
        made = endpoints.create(opened.endpoints, opened.clock, Principal("user", "ada"), name, config)
        plan = LoadPlan(entity, "", "feature_spec", (), "{}")
        endpoints.activate(
            opened.endpoints, opened.clock, endpoints.candidate(made, (plan,)), {entity.name: "as it should"}
        )
    yield opened
    opened.close()


class _Server(BaseHTTPRequestHandler):
    """A server's answers, without its processes."""

    def do_GET(self) -> None:
        entities = [{"name": "churn-3", "entity_name": "ml.models.churn", "entity_version": "3"}]
        live = {"status": "ok", "instance": "i"}
        self._answer(live if self.path == "/health/live" else {"config": {"served_entities": entities}})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(ANSWERS[self.path.split("/")[2]])

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.send_header("served-model-name", "spend" if "outputs" in body.decode() else "churn-3")
        self.send_header("databricks-request-id", "r1")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(workspace: Workspace) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Server) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{listening.server_port}"
        with only_server(workspace.home):
            write_info(workspace.home, ServerInfo(url, os.getpid(), "i"))
            yield url
        listening.shutdown()
        thread.join()


def test_listing_tells_models_from_features(cli: Cli, workspace: Workspace) -> None:
    assert workspace.home.is_dir()
    listed = cli("endpoint", "list", "--json").json()["endpoints"]
    assert [(row["name"], row["serves"], row["ready"]) for row in listed] == [
        ("churn", "ml.models.churn v3", True),
        ("spend", "ml.specs.spend (features)", True),
    ]
    assert [row["serves"] for row in cli("status", "--json").json()["endpoints"]] == [row["serves"] for row in listed]


def test_showing_one(cli: Cli, workspace: Workspace) -> None:
    failed = endpoints.update(workspace.endpoints, workspace.clock, "spend", endpoints.endpoint_config(SPEC))
    endpoints.fail(workspace.endpoints, workspace.clock, failed.name, "a table is missing")
    shown = cli("endpoint", "show", "spend", "--json").json()
    assert shown == {
        "name": "spend",
        "serves": "features",
        "ready": True,
        "config_update": "UPDATE_FAILED",
        "message": "a table is missing",
        "generation": 1,
        "previous": None,
        "owner": "user:ada",
        "updated_at": "2025-03-10T00:00:00Z",
        "capture": "ml.logs.p_payload",
        "missing_keys": "default",
        "extra_columns": "ignore",
        "url": None,
        "entities": [
            {
                "name": "spend",
                "serves": "ml.specs.spend (features)",
                "traffic": 100,
                "shadow": 0,
                "asleep": False,
                "path": "as it should",
            }
        ],
        "canary": None,
    }
    text = cli("endpoint", "show", "churn").out
    assert "ml.models.churn v3" in text
    assert "as it should" in text
    assert "churn" in cli("endpoint", "show", "chrun").refused()


def test_asking_for_features_and_for_predictions(cli: Cli, server: str) -> None:
    records = '[{"customer_id": 7}, {"customer_id": 8}]'
    assert cli("endpoint", "query", "spend", records, "--json").json() == {
        **ANSWERS["spend"],
        "served": "spend",
        "request_id": "r1",
    }
    text = cli("endpoint", "query", "spend", records).out
    for part in ("total", "visits", "12.50", "{'customer_id': 8}", "by spend, request r1"):
        assert part in text
    assert cli("endpoint", "query", "churn", records, "--json").json() == {
        **ANSWERS["churn"],
        "model_version": "3",
        "request_id": "r1",
    }
    assert "by v3, request r1" in cli("endpoint", "query", "churn", records).out
    assert cli("endpoint", "show", "spend", "--json").json()["url"] == f"{server}/serving-endpoints/spend/invocations"
    assert "did you mean 'churn'" in cli("endpoint", "query", "chrun", records).refused()
