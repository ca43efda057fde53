from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import millrace as mr
from millrace.jobs.port import JobDesk
from millrace.tasks.apply import apply_jobs, not_applied
from millrace.tasks.declared import declared_jobs
from millrace.workspace import open_workspace

PAGE = """
import millrace as mr

churn = mr.Pipeline(
    name="churn",
    label=mr.Label("ml.labels.churn", column="churned", keys=("id",), time="at"),
    lookups=[mr.FeatureLookup("ml.features.churn", lookup_key="id", timestamp_lookup_key="at")],
    candidates=[mr.Linear()],
    gates=[],
    monitor=mr.Monitor(schedule="0 0 7 * * ?"),
    retrain=mr.Retrain(schedule=mr.CronSchedule("0 30 7 * * ?", timezone_id="Europe/Berlin")),
)
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[JobDesk]:
    workspace = open_workspace(tmp_path / "home")
    yield workspace.jobs
    workspace.close()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "page.py"
    file.write_text(PAGE)
    return file


def pipeline(page: Path, **changes: Any) -> mr.Pipeline:
    from millrace.pipeline.load import load_pipeline

    return replace(load_pipeline(page), **changes)


def test_a_pipelines_schedules_are_in_force_when_its_file_was_applied(desk: JobDesk, page: Path) -> None:
    assert not_applied(desk, pipeline(page), page) == ["churn-monitor", "churn-retrain"]
    apply_jobs(desk, page, declared_jobs(page))
    assert not_applied(desk, pipeline(page), page) == []
    later = mr.Monitor(schedule="0 0 8 * * ?")
    assert not_applied(desk, pipeline(page, monitor=later), page) == ["churn-monitor"]


def test_what_runs_the_pipeline_from_another_place_is_not_in_force(desk: JobDesk, page: Path, tmp_path: Path) -> None:
    apply_jobs(desk, page, declared_jobs(page))
    moved = tmp_path / "moved.py"
    page.rename(moved)
    assert not_applied(desk, pipeline(moved), moved) == ["churn-monitor", "churn-retrain"]


def test_a_paused_schedule_is_in_force_as_far_as_the_file_is_concerned(desk: JobDesk, page: Path) -> None:
    apply_jobs(desk, page, declared_jobs(page))
    kept = desk.jobs.get("churn-monitor").job
    assert kept.schedule is not None
    desk.jobs.put(replace(kept, schedule=replace(kept.schedule, pause_status="PAUSED")))
    assert not_applied(desk, pipeline(page), page) == []
    assert {each.change for each in apply_jobs(desk, page, declared_jobs(page))} == {"unchanged"}
    paused = desk.jobs.get("churn-monitor").job.schedule
    assert paused is not None
    assert paused.pause_status == "PAUSED"


def test_a_pipeline_without_schedules_has_nothing_to_apply(desk: JobDesk, page: Path) -> None:
    assert not_applied(desk, pipeline(page, monitor=None, retrain=None), page) == []
