"""The scheduler process of a real server: ticks and changes become runs that are executed, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from millrace.core.events import Event
from millrace.core.principal import Principal
from millrace.jobs.job import (
    AlertTrigger,
    ConditionTask,
    CronSchedule,
    Job,
    ModelTrigger,
    TableUpdateTrigger,
    Task,
    Trigger,
)
from millrace.jobs.job_run import JobRun
from millrace.jobs.port import KeptJob
from millrace.jobs.put_job import put_job
from millrace.jobs.schedules.triggers import QUIET_S
from millrace.targets.local_server import read_info
from millrace.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

_LONGEST_S = 180.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "millrace.api.supervisor", "--home", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, process_group=0)
    yield process
    process.terminate()
    assert process.wait(90) == 0


def test_jobs_run_by_themselves_and_whoever_is_killed_each_tick_is_one_run(
    server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    _until(lambda: read_info(tmp_path) is not None)
    assert not _schedulers(server.pid)  # while there is no job
    with closing(open_workspace(tmp_path)) as workspace:
        kept = _put(workspace, "ticking", schedule=CronSchedule("0/3 * * * * ?", catch_up="all"))
        _until(partial(_has_ended, workspace, "ticking", 1))
        for wanted in (3, 5):
            os.kill(_scheduler(server.pid), signal.SIGKILL)
            _until(partial(_has_ended, workspace, "ticking", wanted))
        runs = [run for run in workspace.jobs.runs.list("ticking", 1000) if run.due is not None]
    ticks = sorted(run.due for run in runs if run.due is not None)
    assert set(Counter(ticks).values()) == {1}
    assert {after - before for before, after in pairwise(ticks)} == {timedelta(seconds=3)}
    assert ticks[0] - kept.updated_at <= timedelta(seconds=3)
    assert {run.result_state for run in runs if run.is_over} == {"SUCCESS"}


@pytest.mark.long
@pytest.mark.usefixtures("server")
def test_changes_of_tables_and_models_and_alerts_are_one_run_each(tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import DeltaTable

    from millrace.registry.types import ModelName, ModelVersion
    from tests.integration.constant_model import MODEL, register_constant

    _until(lambda: read_info(tmp_path) is not None)
    with closing(open_workspace(tmp_path)) as workspace:
        rows = pa.table({"x": [1]})
        workspace.lake.create("bronze.t", rows.schema, rows=rows)
        register_constant(workspace, 0)
        triggers: dict[str, Trigger] = {
            "table": TableUpdateTrigger(("bronze.t",)),
            "version": ModelTrigger(MODEL),
            "alias": ModelTrigger(MODEL, "MODEL_ALIAS_SET", ("production",)),
            "alert": AlertTrigger(("drift",)),
        }
        put = {name: _put(workspace, name, trigger=trigger) for name, trigger in triggers.items()}
        _until(lambda: len(workspace.schedules.marks.causes()) == len(triggers))
        begun = time.monotonic()
        workspace.lake.append("bronze.t", pa.table({"x": [2]}))
        workspace.lake.append("bronze.t", pa.table({"x": [3]}))
        together = (
            time.monotonic() - begun < QUIET_S
        )  # else the machine stood still between them, and each may have its run
        workspace.registry.set_alias(ModelName(MODEL), "production", ModelVersion("1"))
        opened = {"rule": "drift", "kinds": ["drift"]}
        workspace.events.append(
            Event("episode.opened", "endpoint/x", datetime.now(UTC), Principal("system", "alerts"), opened)
        )
        register_constant(workspace, 1)
        _until(lambda: all(_ended(workspace, name) for name in triggers) and _is_followed(workspace, put["table"]))
        runs = {name: {run.trigger for run in _ended(workspace, name)} for name in triggers}
        assert runs == {"table": {"TABLE"}, "version": {"MODEL"}, "alias": {"MODEL"}, "alert": {"ALERT"}}
        often = len(_ended(workspace, "table"))
        assert often == 1 or not together
        # A compaction is no news.
        location = workspace.lake.entry("bronze.t").location
        before = workspace.lake.store.version(location)
        DeltaTable(location).optimize.compact()
        assert workspace.lake.store.version(location) > before
        _until(lambda: workspace.schedules.tables.newest("bronze.t") == before)
        workspace.lake.append("bronze.t", pa.table({"x": [4]}))
        _until(partial(_has_ended, workspace, "table", often + 1))
        assert [len(workspace.jobs.runs.list(name)) for name in triggers] == [often + 1, 1, 1, 1]


def _put(
    workspace: Workspace, name: str, *, schedule: CronSchedule | None = None, trigger: Trigger | None = None
) -> KeptJob:
    return put_job(workspace.jobs, Job(name, [Task("only", ConditionTask("EQUAL_TO", "1", "1"))], schedule, trigger))


def _ended(workspace: Workspace, job: str) -> list[JobRun]:
    return [run for run in workspace.jobs.runs.list(job, 1000) if run.is_over]


def _has_ended(workspace: Workspace, job: str, often: int) -> bool:
    return len(_ended(workspace, job)) >= often


def _is_followed(workspace: Workspace, kept: KeptJob) -> bool:
    """Whether all that happened to the table has had its run, which has ended."""
    mark = workspace.schedules.marks.causes()[kept.job_id]
    is_newest = mark.position == {"bronze.t": workspace.schedules.tables.newest("bronze.t")}
    return is_newest and mark.pending is None and not workspace.jobs.runs.list(kept.job.name, unfinished=True)


def _scheduler(supervisor: int) -> int:
    """The process's id, once there is one."""
    _until(lambda: bool(_schedulers(supervisor)))
    (found,) = _schedulers(supervisor)
    return found


def _schedulers(supervisor: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(supervisor)], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "millrace.api.scheduler" in line]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
