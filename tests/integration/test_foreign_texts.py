"""What a worker's system or libraries say of a load that fails stays in the worker's log."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from millrace.workspace import open_workspace
from tests.integration.chaos_clients import wait
from tests.integration.chaos_server import ENDPOINTS, config, home_with, serving
from tests.integration.own_models import ADDS, register_own

SAYS = "what only its author knows: "


@pytest.mark.slow
# MLflow's own, while models are logged in the test's process.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_who_may_only_query_reads_no_foreign_text(tmp_path: Path) -> None:
    home = home_with(2, tmp_path / "home")
    with serving(home) as server, server.http() as http:
        server.deploy("churn")
        secret = http.post("/api/millrace/tokens", json={"name": "shop", "query": ["churn"]}).json()["token"]
        # The system refuses to keep the next model's proof, and says where.
        shutil.rmtree(home / "serving")
        (home / "serving").touch()
        assert http.put(f"{ENDPOINTS}/churn/config", json=config("2")).status_code == 200
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {secret}"}, timeout=60) as shop:
            wait(lambda: shop.get(f"{ENDPOINTS}/churn").status_code == 200)
            wait(lambda: shop.get(f"{ENDPOINTS}/churn").json()["state"]["config_update"] == "UPDATE_FAILED")
            told = shop.get(f"{ENDPOINTS}/churn")
        (home / "serving").unlink()
    kind, _, rest = told.json()["state"]["message"].partition(";")
    assert kind in {"FileExistsError", "NotADirectoryError"}
    assert rest == " the server's log has more"
    assert str(home) not in told.text
    logged = (home / "logs" / "worker-0.log").read_text()
    assert "the command 'load' failed" in logged
    assert kind in logged


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_nor_what_a_model_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for installer in ("UV_NO_INDEX", "PIP_NO_INDEX"):
        monkeypatch.setenv(installer, "1")
    home = home_with(1, tmp_path / "home")
    workspace = open_workspace(home)
    for needs in ("mlflow\n", "mlflow\nnumpy==0.0.1\n"):  # here, and with packages that can't be had
        folder = register_own(workspace, ADDS)
        (module,) = (folder / "code").iterdir()
        module.write_text(f"raise OSError({SAYS!r} + __file__)")
        (folder / "requirements.txt").write_text(needs)
    workspace.close()
    with serving(home) as server, server.http() as http:
        server.deploy("churn")
        for version, told in (("2", "version 2 can't be loaded: OSError"), ("3", "numpy==0.0.1")):
            assert http.put(f"{ENDPOINTS}/churn/config", json=config(version)).status_code == 200
            wait(lambda: http.get(f"{ENDPOINTS}/churn").json()["state"]["config_update"] != "IN_PROGRESS")
            message = http.get(f"{ENDPOINTS}/churn").json()["state"]["message"]
            assert told in message
            assert str(home) not in message
            assert SAYS not in message
    assert SAYS in (home / "logs" / "worker-0.log").read_text()
