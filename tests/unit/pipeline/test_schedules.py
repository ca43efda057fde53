from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import millrace as mr
from millrace.core.errors import InvalidInput
from millrace.pipeline.declare import FeatureTable, LabelTable
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.scheduled_jobs import scheduled_jobs

DAY = timedelta(days=1)
SIX = "0 0 6 * * ?"
BERLIN = mr.CronSchedule("0 30 6 * * ?", timezone_id="Europe/Berlin")


def compute(as_of: datetime) -> Any:
    return as_of


def table(name: str, schedule: str | mr.CronSchedule | None = None) -> FeatureTable:
    return FeatureTable(name, compute, ("id",), DAY, schedule=schedule)


def labels(schedule: str | None = None) -> LabelTable:
    return LabelTable("ml.labels.churn", compute, ("id",), "churned", DAY, DAY, schedule=schedule)


def pipeline(**changes: Any) -> mr.Pipeline:
    given: dict[str, Any] = {
        "name": "churn",
        "label": labels(),
        "candidates": [mr.Linear()],
        "gates": [],
        "features": [table("ml.features.a"), table("ml.features.b")],
    }
    return mr.Pipeline(**given | changes)


def jobs(**changes: Any) -> dict[str, mr.Job]:
    return {job.name: job for job in scheduled_jobs(pipeline(**changes), "page.py", "/project")}


def test_a_pipeline_without_schedules_has_no_jobs() -> None:
    assert jobs() == {}


def test_each_part_with_a_schedule_is_a_job() -> None:
    made = jobs(
        features=[table("ml.features.a", SIX), table("ml.features.b")],
        monitor=mr.Monitor(schedule=BERLIN),
        retrain=mr.Retrain(schedule="0 0 7 * * ?"),
    )
    assert list(made) == ["churn-features", "churn-monitor", "churn-retrain"]
    assert [job.tasks[0].work for job in made.values()] == [
        mr.FeatureRefreshTask("page.py:churn", ("ml.features.a",)),
        mr.MonitorTask("page.py:churn"),
        mr.RetrainTask("page.py:churn"),
    ]
    assert [job.schedule for job in made.values()] == [mr.CronSchedule(SIX), BERLIN, mr.CronSchedule("0 0 7 * * ?")]
    assert {job.folder for job in made.values()} == {"/project"}


def test_tables_of_one_schedule_are_one_job_and_all_of_them_need_not_be_named() -> None:
    both = [table("ml.features.a", SIX), table("ml.features.b", mr.CronSchedule(SIX))]
    some = jobs(features=both)
    assert some["churn-features"].tasks[0].work == mr.FeatureRefreshTask(
        "page.py:churn", ("ml.features.a", "ml.features.b")
    )
    everything = jobs(features=both, label=labels(SIX))
    assert everything["churn-features"].tasks[0].work == mr.FeatureRefreshTask("page.py:churn")


def test_tables_of_another_schedule_have_a_job_of_their_own() -> None:
    made = jobs(features=[table("ml.features.a", SIX), table("ml.features.b", "0 0 * * * ?")])
    assert list(made) == ["churn-features", "churn-features-b"]


def test_when_something_runs_does_not_change_what_it_makes() -> None:
    plain = mr.Retrain(), mr.Monitor(), table("ml.features.a")
    scheduled = [replace(one, schedule=SIX) for one in plain]
    assert fingerprint(*plain) == fingerprint(*scheduled)


def test_what_is_no_schedule_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidInput, match="the schedule of the monitor is 6"):
        mr.Monitor(schedule=6)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"the schedule of ml.features.a: .*31 2"):
        table("ml.features.a", "0 0 6 31 2 ?")


def test_the_decorators_take_a_schedule() -> None:
    made = mr.feature_table(
        "ml.features.a", keys=["id"], every=DAY, start=datetime(2025, 1, 1, tzinfo=UTC), schedule=SIX
    )
    assert made(compute).schedule == SIX
    assert (
        mr.label_table("ml.l.a", keys=["id"], column="y", horizon=DAY, every=DAY, schedule=SIX)(compute).schedule == SIX
    )
