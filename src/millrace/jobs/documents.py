"""Jobs as JSON documents in the Jobs API's shape, and back: what is kept, sent and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from millrace.jobs.job import (
    AlertTask,
    AlertTrigger,
    CatchUp,
    ConditionTask,
    CronSchedule,
    FeatureRefreshTask,
    Job,
    ModelTrigger,
    MonitorTask,
    NotebookTask,
    Operator,
    PauseStatus,
    PipelineTask,
    RetrainTask,
    RunIf,
    RunJobTask,
    SparkPythonTask,
    SqlTask,
    TableUpdateTrigger,
    Task,
    TaskDependency,
    Trigger,
    Work,
)
from millrace.jobs.read_document import Fields, refuse

KINDS: Mapping[str, type[Work]] = {
    "pipeline_task": PipelineTask,
    "feature_refresh_task": FeatureRefreshTask,
    "monitor_task": MonitorTask,
    "retrain_task": RetrainTask,
    "alert_task": AlertTask,
    "notebook_task": NotebookTask,
    "spark_python_task": SparkPythonTask,
    "sql_task": SqlTask,
    "condition_task": ConditionTask,
    "run_job_task": RunJobTask,
}
_TRIGGERS = ("table_update", "model", "alert")
_UPDATED = Literal["ANY_UPDATED", "ALL_UPDATED"]
_MODEL = Literal["MODEL_VERSION_READY", "MODEL_ALIAS_SET"]


def kind_of(work: Work) -> str:
    """What the Jobs API calls this kind of work, as `notebook_task`."""
    return next(name for name, kind in KINDS.items() if type(work) is kind)


def job_document(job: Job) -> dict[str, Any]:
    """A job's settings. What is as it is by default is left out, but for what says how the job runs."""
    document: dict[str, Any] = {"name": job.name, "tasks": [task_document(task) for task in job.tasks]}
    if job.schedule is not None:
        schedule = job.schedule
        document["schedule"] = {
            "quartz_cron_expression": schedule.quartz_cron_expression,
            "timezone_id": schedule.timezone_id,
            "pause_status": schedule.pause_status,
            "catch_up": schedule.catch_up,
        }
    if job.trigger is not None:
        document["trigger"] = {"pause_status": job.pause_status, **_trigger_document(job.trigger)}
    elif job.pause_status != "UNPAUSED":
        document["trigger"] = {"pause_status": job.pause_status}
    document |= {
        "parameters": [{"name": name, "default": default} for name, default in job.parameters.items()],
        "max_concurrent_runs": job.max_concurrent_runs,
        "queue": {"enabled": job.queue},
        "timeout_seconds": job.timeout_seconds,
    }
    given = {"tags": dict(job.tags), "description": job.description, "folder": job.folder}
    return document | {name: value for name, value in given.items() if value}


def task_document(task: Task) -> dict[str, Any]:
    """One task."""
    document: dict[str, Any] = {"task_key": task.task_key, kind_of(task.work): work_document(task.work)}
    if task.depends_on:
        document["depends_on"] = [
            {"task_key": each.task_key} | ({} if each.outcome is None else {"outcome": each.outcome})
            for each in map(dependency, task.depends_on)
        ]
    document |= {"run_if": task.run_if, "max_retries": task.max_retries, "timeout_seconds": task.timeout_seconds}
    document |= {
        "min_retry_interval_millis": task.min_retry_interval_millis,
        "retry_on_timeout": task.retry_on_timeout,
    }
    return document | ({"description": task.description} if task.description else {})


def dependency(given: str | TaskDependency) -> TaskDependency:
    """A dependency, where it was given as a task's key alone."""
    return TaskDependency(given) if isinstance(given, str) else given


def work_document(work: Work) -> dict[str, Any]:  # noqa: PLR0911 - one for each kind
    """What a task does, without its kind."""
    match work:
        case PipelineTask() | MonitorTask():
            return {"pipeline": work.pipeline}
        case FeatureRefreshTask():
            return {"pipeline": work.pipeline, "tables": list(work.tables)}
        case RetrainTask():
            return {"pipeline": work.pipeline, "force": work.force}
        case AlertTask():
            return {"rules": list(work.rules)}
        case NotebookTask():
            return {"notebook_path": work.notebook_path, "base_parameters": dict(work.base_parameters)}
        case SparkPythonTask():
            return {"python_file": work.python_file, "parameters": list(work.parameters)}
        case SqlTask():
            query = {} if work.query is None else {"query": {"query_text": work.query}}
            file = {} if work.file is None else {"file": {"path": work.file}}
            return {**query, **file, "parameters": dict(work.parameters)}
        case ConditionTask():
            return {"op": work.op, "left": work.left, "right": work.right}
        case RunJobTask():
            return {"job_name": work.job_name, "job_parameters": dict(work.job_parameters)}


def job_of(document: Mapping[str, Any]) -> Job:
    """The job of such a document.

    Raises:
        InvalidInput: a key that there is not, with the nearest; a value of another kind than it should be.
    """
    given = Fields(document, "the job")
    schedule, trigger = given.fields("schedule"), given.fields("trigger")
    parameters = {one.text("name"): one.text("default", "") for one in given.many("parameters")}
    queue = given.fields("queue")
    job = Job(
        name=given.text("name"),
        tasks=[_task(each) for each in given.many("tasks")],
        schedule=None if schedule is None else _schedule(schedule),
        trigger=None if trigger is None else _trigger(trigger),
        pause_status="UNPAUSED"
        if trigger is None
        else trigger.choice("pause_status", get_args(PauseStatus), "UNPAUSED"),
        parameters=parameters,
        max_concurrent_runs=given.whole("max_concurrent_runs", 1),
        queue=True if queue is None else queue.flag("enabled", default=True),
        timeout_seconds=given.whole("timeout_seconds", 0),
        tags=given.texts_by_name("tags"),
        description=given.text("description", ""),
        folder=given.text("folder", ""),
    )
    for read in (schedule, trigger, queue, given):
        if read is not None:
            read.end()
    return job


def work_of(kind: str, document: Mapping[str, Any]) -> Work:
    """The work of that kind of such a document, as `work_document` makes it."""
    given = Fields(document, kind)
    work = _work(kind, given)
    given.end()
    return work


def _task(given: Fields) -> Task:
    given.name = f"task '{given.text('task_key')}'"
    kinds = [kind for kind in KINDS if kind in given]
    if len(kinds) != 1:
        said = "does nothing" if not kinds else f"is both {kinds[0]} and {kinds[1]}"
        refuse(f"{given.name} {said}", f"give it one of: {', '.join(KINDS)}")
    depends_on = [
        TaskDependency(one.text("task_key"), one.choice_or_none("outcome", ("true", "false")))
        for one in given.many("depends_on")
    ]
    task = Task(
        task_key=given.text("task_key"),
        work=work_of(kinds[0], given.take(kinds[0])),
        depends_on=depends_on,
        run_if=given.choice("run_if", get_args(RunIf), "ALL_SUCCESS"),
        max_retries=given.whole("max_retries", 0),
        min_retry_interval_millis=given.whole("min_retry_interval_millis", 1_000),
        retry_on_timeout=given.flag("retry_on_timeout", default=False),
        timeout_seconds=given.whole("timeout_seconds", 0),
        description=given.text("description", ""),
    )
    given.end()
    return task


def _work(kind: str, given: Fields) -> Work:  # noqa: PLR0911 - one for each kind
    match kind:
        case "pipeline_task":
            return PipelineTask(given.text("pipeline"))
        case "feature_refresh_task":
            return FeatureRefreshTask(given.text("pipeline"), given.texts("tables"))
        case "monitor_task":
            return MonitorTask(given.text("pipeline"))
        case "retrain_task":
            return RetrainTask(given.text("pipeline"), force=given.flag("force", default=False))
        case "alert_task":
            return AlertTask(given.texts("rules"))
        case "notebook_task":
            given.ignore("source")
            return NotebookTask(given.text("notebook_path"), given.texts_by_name("base_parameters"))
        case "spark_python_task":
            given.ignore("source")
            return SparkPythonTask(given.text("python_file"), given.texts("parameters"))
        case "sql_task":
            return _sql(given)
        case "condition_task":
            return ConditionTask(given.choice("op", get_args(Operator)), given.text("left"), given.text("right"))
        case _:
            return RunJobTask(given.text("job_name"), given.texts_by_name("job_parameters"))


def _sql(given: Fields) -> SqlTask:
    query, file = given.fields("query"), given.fields("file")
    work = SqlTask(
        query=None if query is None else query.text("query_text"),
        file=None if file is None else file.text("path"),
        parameters=given.texts_by_name("parameters"),
    )
    if file is not None:
        file.ignore("source")
    for read in (query, file):
        if read is not None:
            read.end()
    return work


def _schedule(given: Fields) -> CronSchedule:
    return CronSchedule(
        given.text("quartz_cron_expression"),
        given.text("timezone_id", "UTC"),
        given.choice("pause_status", get_args(PauseStatus), "UNPAUSED"),
        given.choice("catch_up", get_args(CatchUp), "last"),
    )


def _trigger(given: Fields) -> Trigger | None:
    kinds = [kind for kind in _TRIGGERS if kind in given]
    if len(kinds) > 1:
        refuse(
            f"{given.name} is both {kinds[0]} and {kinds[1]}", "a job has one trigger; a second job may run this one"
        )
    one = given.fields(kinds[0]) if kinds else None
    if one is None:
        return None
    made: Trigger
    match kinds[0]:
        case "table_update":
            made = TableUpdateTrigger(
                one.texts("table_names"), one.choice("condition", get_args(_UPDATED), "ANY_UPDATED")
            )
        case "model":
            condition = one.choice("condition", get_args(_MODEL), "MODEL_VERSION_READY")
            made = ModelTrigger(one.text("securable_name"), condition, one.texts("aliases"))
        case _:
            made = AlertTrigger(one.texts("rules"), one.texts("kinds"))
    one.end()
    return made


def _trigger_document(trigger: Trigger) -> dict[str, Any]:
    match trigger:
        case TableUpdateTrigger():
            return {"table_update": {"table_names": list(trigger.table_names), "condition": trigger.condition}}
        case ModelTrigger():
            model = {"securable_name": trigger.securable_name, "condition": trigger.condition}
            return {"model": {**model, "aliases": list(trigger.aliases)}}
        case AlertTrigger():
            return {"alert": {"rules": list(trigger.rules), "kinds": list(trigger.kinds)}}
