"""The schedules of a pipeline, as jobs."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.names import TableName
from millrace.jobs.job import CronSchedule, FeatureRefreshTask, Job, MonitorTask, RetrainTask, Task, Work
from millrace.pipeline.declare import FeatureTable, LabelTable, Pipeline
from millrace.pipeline.definition import computed_tables
from millrace.pipeline.schedules import cron


def scheduled_jobs(pipeline: Pipeline, page: str, folder: str) -> list[Job]:
    """The jobs that a pipeline's schedules ask for: `NAME-features`, `NAME-monitor`, `NAME-retrain`.

    Tables of one schedule are one job; those of a second one have a job of their own, named by the first of them.

    Args:
        pipeline: whose schedules.
        page: its file, from the folder.
        folder: where the file is, absolute.
    """
    place = f"{page}:{pipeline.name}"
    jobs = [
        _job(name, FeatureRefreshTask(place, tables), schedule, folder, pipeline)
        for name, tables, schedule in _refreshes(pipeline)
    ]
    if pipeline.monitor is not None and pipeline.monitor.schedule is not None:
        jobs.append(_job("monitor", MonitorTask(place), cron(pipeline.monitor.schedule), folder, pipeline))
    if pipeline.retrain is not None and pipeline.retrain.schedule is not None:
        jobs.append(_job("retrain", RetrainTask(place), cron(pipeline.retrain.schedule), folder, pipeline))
    return jobs


def _refreshes(pipeline: Pipeline) -> Sequence[tuple[str, tuple[str, ...], CronSchedule]]:
    """Part of the job's name, its tables (all, where one schedule is for all), and when."""
    tables = computed_tables(pipeline)
    by_schedule: dict[CronSchedule, list[FeatureTable | LabelTable]] = {}
    for table in tables:
        if table.schedule is not None:
            by_schedule.setdefault(cron(table.schedule), []).append(table)
    if len(by_schedule) == 1 and len(next(iter(by_schedule.values()))) == len(tables):
        return [("features", (), next(iter(by_schedule)))]
    return [
        (
            "features" if not number else f"features-{TableName.parse(of[0].name).table}",
            tuple(table.name for table in of),
            schedule,
        )
        for number, (schedule, of) in enumerate(by_schedule.items())
    ]


def _job(part: str, work: Work, schedule: CronSchedule, folder: str, pipeline: Pipeline) -> Job:
    # Once more after a minute: what is in the way (a table that is just written, a network) is often gone by then.
    task = Task(part.partition("-")[0], work, max_retries=1, min_retry_interval_millis=60_000)
    described = f"declared by pipeline {pipeline.name}"
    return Job(f"{pipeline.name}-{part}", [task], schedule=schedule, folder=folder, description=described)
