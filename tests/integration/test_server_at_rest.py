"""A server that nobody asks comes to rest, and is there again for who comes then."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from millrace.core.processes import is_alive
from millrace.jobs.job import ConditionTask, CronSchedule, Job, Task
from millrace.jobs.put_job import put_job
from millrace.jobs.submit import submit
from millrace.workspace import open_workspace
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
        assert server.pids("scheduler") == []
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


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_what_was_captured_last_is_drained_when_the_server_ends(tmp_path: Path) -> None:
    """Where the time is enough, that is: one of three does it, however a machine stalls."""
    home, asked = home_with(1, tmp_path / "home"), Counter[str]()
    for number in range(3):
        with serving(home) as server, server.deploy(f"last{number}").asking(2) as account:
            account.grow_by(20)
        asked = Counter(account.acknowledged)
        if not any((home / "capture").glob("*.segment")):
            break
    assert rows(home, f"last{number}") == asked


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_scheduler_is_there_while_jobs_need_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with closing(open_workspace(home)) as workspace, serving(home) as server:
        put_job(workspace.jobs, Job("a", [Task("only", ConditionTask("EQUAL_TO", "1", "1"))]))
        run = submit(workspace.jobs, "a")
        wait(lambda: workspace.jobs.runs.get(run).is_over)
        put_job(
            workspace.jobs, Job("b", [Task("only", ConditionTask("EQUAL_TO", "1", "1"))], CronSchedule("0 0 6 1 1 ?"))
        )
        wait(lambda: len(server.pids("scheduler")) == 1)
        workspace.jobs.jobs.remove("b")
        wait(lambda: not server.pids("scheduler"), within_s=_REST_S)
        wait(lambda: len(server.pids("control")) == 0)  # nobody asked for it
