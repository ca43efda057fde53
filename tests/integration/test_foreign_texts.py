"""What a worker's system or libraries say of a load that fails stays in the worker's log."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from tests.integration.chaos_clients import wait
from tests.integration.chaos_server import ENDPOINTS, config, home_with, serving


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
