"""A server that nobody asks comes to rest, and is there again for who comes then."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from millrace.core.processes import is_alive
from tests.integration.chaos_clients import wait
from tests.integration.chaos_server import check, home_with, rows, serving

_ON_DEMAND = ("control", "drain_loop")
_REST_S = 200  # control stays for two minutes


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(400)
# MLflow's own, while models are logged in the test's process.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_control_and_the_drain_end_and_come_back(tmp_path: Path) -> None:
    home = home_with(1, tmp_path / "home")
    with serving(home) as server:
        clients = server.deploy("rest")
        with clients.asking(2) as account:
            account.grow_by(200)
        wait(lambda: bool(server.pids("drain_loop")))  # a worker has told it
        were = [pid for part in _ON_DEMAND for pid in server.pids(part)]
        wait(lambda: not any(is_alive(pid) for pid in were), within_s=_REST_S)
        assert [server.pids(part) for part in _ON_DEMAND] == [[], []]
        # It left nothing behind: before anybody asks for a drain, all rows are there.
        assert rows(home, "rest") == Counter(account.acknowledged)
        with server.http() as http:
            status = http.get("/api/millrace/status").json()
        assert [worker["served"] for worker in status["workers"]] == [{"rest": 1}]
        (control,) = server.pids("control")
        assert control not in were
        server.drain()
        assert len(server.pids("drain_loop")) == 1
        check(account, rows(home, "rest"))
