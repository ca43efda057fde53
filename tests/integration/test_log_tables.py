"""A token for one endpoint reaches no other one's inference tables, whatever its configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.workspace import open_workspace
from tests.integration.chaos_clients import wait
from tests.integration.chaos_server import ENDPOINTS, Server, config, home_with, serving
from tests.integration.constant_model import ROW

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, while models are logged in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
TAKEN = "RESOURCE_ALREADY_EXISTS"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It serves `churn`, which was asked once."""
    with serving(home_with(1, tmp_path_factory.mktemp("tables") / "home")) as running:
        running.deploy("churn")
        with running.http() as http:
            assert _ask(http, "churn").status_code == 200
        running.drain()
        yield running


@pytest.fixture(scope="module")
def mine(server: Server) -> Iterator[httpx.Client]:
    """A client with a token that manages `mine`."""
    with server.http() as http:
        secret = http.post("/api/millrace/tokens", json={"name": "ci", "manage": ["mine"]}).json()["token"]
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {secret}"}, timeout=60) as client:
            wait(lambda: client.get(ENDPOINTS).status_code == 200)
            yield client


def test_another_endpoints_tables_are_refused_and_stay_as_they_are(server: Server, mine: httpx.Client) -> None:
    for prefix in ("churn", "churn_shadow"):
        refused = _make(mine, prefix)
        assert (refused.status_code, refused.json()["error_code"]) == (409, TAKEN), refused.text
        assert "table_name_prefix" in refused.json()["message"]
    assert mine.get(f"{ENDPOINTS}/mine").status_code == 404
    assert _make(mine, "mine").status_code == 200
    wait(lambda: _ask(mine, "mine").status_code == 200)
    changed = mine.put(f"{ENDPOINTS}/mine/config", json={**config("1"), "auto_capture_config": _capture("churn")})
    assert (changed.status_code, changed.json()["error_code"]) == (409, TAKEN)
    assert _ask(mine, "mine").status_code == 200
    server.drain()
    tables = _rows(server.home)
    assert tables["logs.mine_payload"].column("requester").unique().to_pylist() == ["token:ci"]
    assert "token:ci" not in tables["logs.churn_payload"].column("requester").to_pylist()
    theirs = tables["logs.churn_predictions"].column("request_id")[0].as_py()
    labels = {"labels": [{"request_id": theirs, "label": 1}]}
    answer = mine.post("/api/millrace/endpoints/mine/labels", json=labels).json()
    assert (answer["joined"], answer["unmatched"]) == (0, 1)
    assert _rows(server.home)["logs.churn_predictions"].column("actual_label").to_pylist() == [None]


def test_an_endpoint_is_made_again_over_its_own_tables(server: Server, mine: httpx.Client) -> None:
    if mine.get(f"{ENDPOINTS}/mine").status_code == 404:
        assert _make(mine, "mine").status_code == 200
        wait(lambda: _ask(mine, "mine").status_code == 200)
        server.drain()
    before = _rows(server.home)["logs.mine_payload"].num_rows
    wait(lambda: mine.delete(f"{ENDPOINTS}/mine").status_code == 200)
    assert _make(mine, "mine").status_code == 200
    wait(lambda: _ask(mine, "mine").status_code == 200)
    server.drain()
    assert _rows(server.home)["logs.mine_payload"].num_rows > before


def _make(http: httpx.Client, prefix: str) -> httpx.Response:
    return http.post(
        ENDPOINTS, json={"name": "mine", "config": {**config("1"), "auto_capture_config": _capture(prefix)}}
    )


def _capture(prefix: str) -> dict[str, str]:
    return {"schema_name": "logs", "table_name_prefix": prefix}


def _ask(http: httpx.Client, name: str) -> httpx.Response:
    return http.post(f"/serving-endpoints/{name}/invocations", json={"dataframe_records": [ROW]})


def _rows(home: Path) -> dict[str, Any]:
    """All rows of the inference tables."""
    workspace = open_workspace(home)
    try:
        return {str(entry.name): workspace.lake.read(entry.name) for entry in workspace.lake.catalog.list()}
    finally:
        workspace.close()
