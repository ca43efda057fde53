from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import millrace as mr
from millrace.core.errors import Conflict, InvalidInput
from millrace.core.names import TableName
from millrace.features.tables import delete_feature_rows
from millrace.pipeline import execute
from millrace.pipeline.context import OpenTarget, RunContext
from millrace.pipeline.execute import RunReport, run_pipeline
from millrace.pipeline.plan import Request
from millrace.pipeline.stages.stage import Outcome
from millrace.pipeline.stages.train import BuildTrainingSet
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import Fill
from tests.unit.pipeline.shop import (
    DAY,
    PURCHASES,
    SOURCE,
    START,
    WEEK,
    Told,
    declared,
    features,
    labels,
    no_target,
    purchases,
)

NOW = START + 3 * WEEK
REFRESH = Request(parts=frozenset({"refresh"}))
FEATURES, LABELS, PUBLISH = "features ml.features.shop", "labels ml.labels.shop", "publish ml.features.shop"


@pytest.fixture(autouse=True)
def _rows(workspace: Workspace, fill: Fill) -> None:
    workspace.clock.set(NOW)
    fill(PURCHASES, purchases([(1, START - DAY, 1.0), (2, START + DAY, 2.0)]))


def run(workspace: Workspace, pipeline: mr.Pipeline, request: Request = REFRESH) -> tuple[RunReport, Told]:
    told = Told()
    return run_pipeline(workspace, pipeline, no_target, told, request), told


def failing_while(flag: Path, error: type[BaseException] = ValueError) -> mr.Pipeline:
    """A pipeline whose label function fails while a file is there; its code is the same all the time."""

    def compute(time: datetime, end: datetime, tx: Any = SOURCE) -> Any:
        if flag.exists():
            raise error("the flag is up")
        return labels.compute(time, end, tx)

    return declared(label=replace(labels, compute=compute))


def test_every_stage_is_told_and_written_down(workspace: Workspace) -> None:
    report, told = run(workspace, declared())
    assert (report.status, report.resumed) == ("done", False)
    assert [(stage.name, stage.status) for stage in report.stages] == [
        (FEATURES, "done"),
        (LABELS, "done"),
        (PUBLISH, "done"),
    ]
    assert told.stages == [(name, status) for name in (FEATURES, LABELS, PUBLISH) for status in ("running", "done")]
    (kept,) = workspace.runs.runs("shop")
    assert (kept.status, kept.due, kept.by, kept.ended_at) == ("done", NOW, "user:ada", NOW)
    assert [stage.stage for stage in workspace.runs.stages(kept.id)] == [FEATURES, LABELS, PUBLISH]
    (event,) = workspace.events.read(kind="run.finished")
    assert (event.subject, event.data) == ("pipeline/shop", {"run": kept.id, "status": "done"})


def test_at_once_again_nothing_runs_and_no_run_is_written(workspace: Workspace) -> None:
    run(workspace, declared())
    report, told = run(workspace, declared())
    assert (report, told.stages) == (RunReport("nothing", ()), [])
    assert len(workspace.runs.runs()) == 1


def test_rows_that_were_deleted_by_key_leave_the_online_store_with_the_next_run(workspace: Workspace) -> None:
    run(workspace, declared())
    name = TableName.parse("ml.features.shop")
    delete_feature_rows(workspace.lake, str(name), pa.table({"customer_id": [1]}))
    report, _ = run(workspace, declared())
    assert [stage.name for stage in report.stages] == [PUBLISH]
    gone, kept = workspace.online.get(name, [(1,), (2,)])
    assert (len(gone), len(kept)) == (0, 1)
    assert run(workspace, declared())[0].status == "nothing"
    workspace.online.remove(name)  # or another store than before
    assert [stage.name for stage in run(workspace, declared())[0].stages] == [PUBLISH]


def test_a_run_goes_on_at_the_stage_that_failed(workspace: Workspace, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    pipeline = failing_while(flag)
    flag.touch()
    with pytest.raises(InvalidInput, match="the flag is up"):
        run(workspace, pipeline)
    (failed,) = workspace.runs.runs()
    assert failed.status == "failed"
    assert [(stage.stage, stage.status) for stage in workspace.runs.stages(failed.id)] == [
        (FEATURES, "done"),
        (LABELS, "failed"),
    ]
    assert workspace.leases.holder("pipeline/shop") is None
    flag.unlink()
    report, told = run(workspace, pipeline)
    assert report.resumed
    assert told.stages[0] == (FEATURES, "skipped")
    assert [stage.name for stage in report.stages] == [LABELS, PUBLISH]
    assert not run(workspace, pipeline)[0].resumed


def test_ctrl_c_is_an_interruption(workspace: Workspace, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    with pytest.raises(KeyboardInterrupt):
        run(workspace, failing_while(flag, KeyboardInterrupt))
    (stopped,) = workspace.runs.runs()
    assert stopped.status == "interrupted"
    assert workspace.runs.stages(stopped.id)[-1].status == "interrupted"
    flag.unlink()
    assert run(workspace, failing_while(flag))[0].resumed


def test_what_was_killed_is_written_down_as_interrupted_by_the_next(workspace: Workspace) -> None:
    killed = workspace.runs.start("shop", NOW, NOW, "user:ada", "")
    workspace.runs.start_stage(killed, "shop", FEATURES, "x", NOW)
    report, _ = run(workspace, declared())
    assert report.resumed
    after = {kept.id: kept.status for kept in workspace.runs.runs("shop")}
    assert after[killed] == "interrupted"
    assert workspace.runs.stages(killed)[0].status == "interrupted"


def test_a_refusal_ends_the_run_with_its_reason(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: BuildTrainingSet, context: RunContext) -> Outcome:
        del self, context
        return Outcome("too few rows", {"results": []}, "refused")

    monkeypatch.setattr(BuildTrainingSet, "run", refuse)
    report, told = run(workspace, declared(), Request(parts=frozenset({"refresh", "train"})))
    assert (report.status, report.reasons) == ("refused", ("too few rows",))
    assert told.stages[-1] == ("training set", "refused")
    assert workspace.runs.runs()[0].status == "refused"


def test_a_pipeline_that_a_living_process_runs_is_refused(workspace: Workspace) -> None:
    holder = f"{os.uname().nodename}:{os.getpid()}:other"
    assert workspace.leases.acquire("pipeline/shop", holder, 60)
    with pytest.raises(Conflict, match="pipeline/shop is being run by another process") as refused:
        run(workspace, declared())
    assert refused.value.hint
    assert workspace.leases.holder("pipeline/shop") == holder
    assert workspace.runs.runs() == []


def test_a_lease_of_another_machine_is_left_alone(workspace: Workspace) -> None:
    assert workspace.leases.acquire("pipeline/shop", "elsewhere:1:x", 60)
    with pytest.raises(Conflict):
        run(workspace, declared())


def test_the_lease_of_a_dead_process_is_taken(workspace: Workspace) -> None:
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert workspace.leases.acquire("pipeline/shop", f"{os.uname().nodename}:{int(child.stdout)}:x", 60)
    assert run(workspace, declared())[0].status == "done"
    assert workspace.leases.holder("pipeline/shop") is None


def test_another_pipeline_is_not_in_the_way(workspace: Workspace) -> None:
    assert workspace.leases.acquire("pipeline/other", f"{os.uname().nodename}:{os.getpid()}:x", 60)
    assert run(workspace, declared())[0].status == "done"


@dataclass(frozen=True)
class Asked:
    """What a lease was asked for: its name, who takes it, for how long, and when that was."""

    name: str
    holder: str
    ttl_s: float
    at_s: float


def lasting_leases(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, fails_at: int = 0) -> list[Asked]:
    """Have leases last a minute, so that no stall of the machine ends one; what they are asked for."""
    acquire, asked = type(workspace.leases).acquire, list[Asked]()

    def lasting(self: Any, name: str, holder: str, ttl_s: float) -> bool:
        asked.append(Asked(name, holder, ttl_s, time.monotonic()))
        if len(asked) == fails_at:
            raise OSError("database is locked")
        return acquire(self, name, holder, 60)

    monkeypatch.setattr(type(workspace.leases), "acquire", lasting)
    return asked


def wait_for_renewals(asked: list[Asked]) -> None:
    """Until there are three, and two came one after the other before the lease would have ended."""
    until = time.monotonic() + 60
    while len(asked) < 4 or all(after.at_s - before.at_s >= before.ttl_s for before, after in pairwise(asked)):
        assert time.monotonic() < until, asked
        time.sleep(0.01)


def test_the_lease_is_renewed_while_a_long_stage_runs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "_LEASE_S", 0.3)
    asked, held = lasting_leases(workspace, monkeypatch), list[str | None]()

    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        if not held:
            wait_for_renewals(asked)
            held.append(workspace.leases.holder("pipeline/shop"))
        return features.compute(as_of, tx)

    run(workspace, declared(features=[replace(features, compute=compute, every=52 * WEEK)]))
    assert held
    assert str(held[0]).startswith(f"{os.uname().nodename}:{os.getpid()}:")
    assert {(each.name, each.holder, each.ttl_s) for each in asked} == {("pipeline/shop", held[0], 0.3)}


def test_a_database_that_is_busy_once_does_not_end_the_renewing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "_LEASE_S", 0.3)
    asked = lasting_leases(workspace, monkeypatch, fails_at=2)  # the first renewal

    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        wait_for_renewals(asked)
        assert workspace.leases.holder("pipeline/shop")
        return features.compute(as_of, tx)

    run(workspace, declared(features=[replace(features, compute=compute, every=52 * WEEK)]))
    assert len(asked) > 3


def test_the_target_is_opened_by_the_first_that_needs_it_and_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    @contextmanager
    def target() -> Iterator[Any]:
        opened.append("opened")
        yield object()
        opened.append("closed")

    def twice(self: BuildTrainingSet, context: RunContext) -> Outcome:
        del self
        with context.target() as one, context.target() as two:
            assert one is two
        return Outcome("", {}, "refused")

    given: OpenTarget = target
    monkeypatch.setattr(BuildTrainingSet, "run", twice)
    run_pipeline(workspace, declared(), given, Told(), REFRESH)
    assert opened == []
    run_pipeline(workspace, declared(), given, Told(), Request(parts=frozenset({"train"})))
    assert opened == ["opened", "closed"]
