"""`millrace job list`, `show` and `runs`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import console, print_facts, print_json, print_table, say, shown
from millrace.core.errors import UsageError

if TYPE_CHECKING:
    from millrace.jobs.job import Job
    from millrace.jobs.job_run import JobRun, TaskRun
    from millrace.jobs.port import JobDesk, KeptJob

_NEXT = 3
_LAST_RUNS = 5


def list_(*, home: Home = None, json: Json = False) -> int:
    """List the jobs, when each runs next, and how its last run went."""
    from millrace.tasks.show import job_json, run_json
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk = workspace.jobs
        kept, now = desk.jobs.list(), desk.clock.now()
        last = {each.job.name: next(iter(desk.runs.list(each.job.name, 1)), None) for each in kept}
    fires = {each.job.name: list(_next_fires(each.job, now, 1)) for each in kept}
    if json:
        listed = [
            job_json(each)
            | {"next": next(iter(fires[each.job.name]), None), "last_run": _or_none(last[each.job.name], run_json)}
            for each in kept
        ]
        print_json({"jobs": listed})
        return 0
    if not kept:
        say("there are no jobs yet; `millrace job apply FILE` makes those that a file declares")
        return 0
    rows = [
        [each.job.name, _when(each.job), next(iter(fires[each.job.name]), None), *_last(last[each.job.name])]
        for each in kept
    ]
    print_table(["job", "runs", "next (UTC)", "last run", "ended", "state"], rows)
    return 0


def show(
    name: Annotated[str, Parameter(help="A job's name, or a run's number.")], *, home: Home = None, json: Json = False
) -> int:
    """Show a job, when it runs and how it went; or, by its number, a run: its tasks, how long each took, and what failed."""
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk = workspace.jobs
        kept = desk.jobs.find(name)
        if kept is None and name.isdecimal():
            from millrace.cli.job_named import find_run

            show_run(desk, workspace.home, find_run(desk, name), json=json)
        else:
            _show_job(desk, kept or desk.jobs.get(name), json=json)
    return 0


def runs(
    job: Annotated[str | None, Parameter(help="Only this job's.")] = None,
    *,
    limit: Annotated[int, Parameter(help="How many.")] = 20,
    home: Home = None,
    json: Json = False,
) -> int:
    """List runs, newest first."""
    from millrace.tasks.show import run_json
    from millrace.workspace import require_home

    if limit < 1:
        raise UsageError(f"--limit is {limit}", hint="give a number from 1")
    with closing(require_home(home)) as workspace:
        desk = workspace.jobs
        found = desk.runs.list(job, limit)
        if not found and job is not None:
            desk.jobs.get(job)
        now = desk.clock.now()
    if json:
        print_json({"runs": [run_json(run) for run in found]})
    elif found:
        _print_runs(found, now)
    else:
        say("nothing has run yet; run a job with `millrace job run NAME`")
    return 0


def show_run(desk: JobDesk, home: Path, run: JobRun, *, json: bool) -> None:
    """Print a run: its tasks with how they stand, and of those that failed why, with the end of their logs."""
    from millrace.tasks.execute_here import is_executed
    from millrace.tasks.show import run_json, task_json

    attempts = desk.runs.tasks(run.run_id)
    if json:
        failed = {each.task_run_id for each in failures(attempts)}
        tasks = [
            task_json(each) | ({"log_tail": _tail(each)} if each.task_run_id in failed else {}) for each in attempts
        ]
        print_json(run_json(run) | {"tasks": tasks})
        return
    facts: dict[str, object] = {"run": f"{run.run_id}: number {run.number} of job {run.job}", "state": run_state(run)}
    facts |= {"message": run.state_message} if run.state_message else {}
    facts |= {"trigger": _trigger(run), "by": run.by}
    facts |= {"parameters": _pairs(run.parameters)} if run.parameters else {}
    facts |= {"began": run.started_at, "ended": run.ended_at, "took": _took(run, desk.clock.now())}
    facts |= {"repaired": "once" if run.repairs == 1 else f"{run.repairs} times"} if run.repairs else {}
    print_facts(facts)
    _print_graph(desk.runs.declared(run.run_id), attempts, desk.clock.now())
    print_failures(attempts)
    if not run.is_over and not is_executed(desk, home):
        say(f"nothing executes it now: `millrace up` goes on with it, or millrace job wait {run.run_id}")


def print_failures(attempts: Sequence[TaskRun]) -> None:
    """Of each task that failed: why, and the last lines of its log."""
    for task in failures(attempts):
        nth = f", attempt {task.attempt + 1}" if task.attempt else ""
        say(f"\ntask {task.task_key}{nth}: {task.state_message or 'no reason was given'}")
        for line in _tail(task):
            console().print(f"  | {line}", markup=False, soft_wrap=True)
        if task.log_path is not None:
            say(f"  the whole log: {task.log_path}")


def failures(attempts: Sequence[TaskRun]) -> list[TaskRun]:
    """The newest attempts of the tasks that failed themselves."""
    from millrace.jobs.repair import latest

    return [each for each in latest(attempts).values() if each.result_state in {"FAILED", "TIMEDOUT"}]


def run_state(run: JobRun) -> str:
    """How a run stands: as what it ended, where it has."""
    return run.result_state or run.life_cycle_state


def _show_job(desk: JobDesk, kept: KeptJob, *, json: bool) -> None:
    from millrace.tasks.show import job_json, run_json

    job, now = kept.job, desk.clock.now()
    fires, last = list(_next_fires(job, now, _NEXT)), desk.runs.list(job.name, _LAST_RUNS)
    if json:
        print_json(job_json(kept) | {"next": fires, "runs": [run_json(run) for run in last]})
        return
    facts: dict[str, object] = {"job": job.name, "runs": _when(job)}
    facts |= {"next": ", ".join(map(shown, fires)) + " (UTC)"} if fires else {}
    facts |= {"description": job.description} if job.description else {}
    facts |= {"parameters": _pairs(job.parameters)} if job.parameters else {}
    facts |= {"at most": f"{job.max_concurrent_runs} at once, more {'wait' if job.queue else 'are skipped'}"}
    facts |= {"time-out": f"{job.timeout_seconds} s"} if job.timeout_seconds else {}
    print_facts(facts | {"folder": job.folder, "owner": kept.owner, "changed": kept.updated_at})
    _print_tasks(job, desk.runs.tasks(last[0].run_id) if last else (), now)
    if last:
        _print_runs(last, now)
    else:
        say(f"no runs yet; run it now: millrace job run {job.name}")


def _print_tasks(job: Job, attempts: Sequence[TaskRun], now: datetime) -> None:
    """What each task does, and how it stands in the newest run."""
    from millrace.cli.job_graph import does, draw, mark, state, took
    from millrace.jobs.repair import latest

    newest, rows = latest(attempts), []
    for line in draw(job.tasks):
        task, last = line.task, newest.get(line.task.task_key)
        retries = "without end" if task.max_retries < 0 else task.max_retries or ""
        time_out = f"{task.timeout_seconds} s" if task.timeout_seconds else ""
        stands = [state(last), took(last, now)] if last else ["", ""]
        rows.append([mark(last), line.drawn, does(task.work), *stands, line.others, retries, time_out])
    _print_columns(["", "task", "does", "last", "took", "when", "retries", "time-out"], rows)


def _print_graph(job: Job, attempts: Sequence[TaskRun], now: datetime) -> None:
    from millrace.cli.job_graph import draw, mark, state, took
    from millrace.jobs.repair import latest

    newest, rows = latest(attempts), []
    for line in draw(job.tasks):
        task = newest.get(line.task.task_key)
        said = "" if task is None else task.state_message.split("\n")[0]
        tries = "" if task is None or not task.attempt else f"attempt {task.attempt + 1}"
        stands = [state(task), took(task, now) if task else "", "; ".join(filter(None, [tries, said]))]
        rows.append([mark(task), line.drawn, *stands, line.others])
    _print_columns(["", "task", "state", "took", "message", "when"], rows)


def _print_columns(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table without the columns that are empty in every row."""
    used = [at for at in range(len(names)) if any(row[at] not in ("", None) for row in rows)]
    print_table([names[at] for at in used], [[row[at] for at in used] for row in rows])


def _print_runs(found: Sequence[JobRun], now: datetime) -> None:
    rows = [
        [
            str(run.run_id),
            run.job,
            run_state(run),
            run.started_at,
            _took(run, now),
            _trigger(run),
            run.state_message.split("\n")[0],
        ]
        for run in found
    ]
    print_table(["run", "job", "state", "began", "took", "made by", "message"], rows)


def _took(run: JobRun, now: datetime) -> str:
    from millrace.cli.job_graph import seconds_between

    return seconds_between(run.started_at, run.ended_at or (None if run.is_over else now))


def _trigger(run: JobRun) -> str:
    match run.trigger:
        case "ONE_TIME":
            return run.by
        case "PERIODIC":
            return "schedule" + (f", for {shown(run.due)}" if run.due else "")
        case "RUN_JOB_TASK":
            return "another job"
        case _:
            return f"{run.trigger.lower()} trigger"


def _when(job: Job) -> str:
    """When a job runs, in words."""
    from millrace.jobs.quartz import parse

    if job.schedule is not None:
        said = parse(job.schedule.quartz_cron_expression, job.schedule.timezone_id).describe()
        return said + (", paused" if job.schedule.pause_status == "PAUSED" else "")
    if job.trigger is None:
        return "when asked"
    return _trigger_words(job) + (", paused" if job.pause_status == "PAUSED" else "")


def _trigger_words(job: Job) -> str:
    from millrace.jobs.job import AlertTrigger, ModelTrigger, TableUpdateTrigger

    match job.trigger:
        case TableUpdateTrigger(table_names=tables, condition=condition):
            return f"on a new version of {(' or ' if condition == 'ANY_UPDATED' else ' and ').join(tables)}"
        case ModelTrigger(securable_name=model, condition="MODEL_VERSION_READY"):
            return f"on a new version of {model}"
        case ModelTrigger(securable_name=model, aliases=aliases):
            return f"when {' or '.join(aliases)} of {model} is set"
        case AlertTrigger(rules=rules, kinds=kinds):
            return f"on an alert of {' or '.join(rules)}" + (f" ({', '.join(kinds)})" if kinds else "")
        case None:
            return "when asked"


def _next_fires(job: Job, now: datetime, count: int) -> Sequence[datetime]:
    from millrace.jobs.schedules.next_fires import next_fires

    return next_fires(job, now, count)


def _last(run: JobRun | None) -> list[object]:
    return [None, None, None] if run is None else [str(run.run_id), run.ended_at, run_state(run)]


def _or_none(run: JobRun | None, made: object) -> object:
    return None if run is None else made(run)  # type: ignore[operator]


def _pairs(pairs: object) -> str:
    return ", ".join(f"{name}={value}" for name, value in dict(pairs).items())  # type: ignore[call-overload]


def _tail(task: TaskRun) -> list[str]:
    from millrace.tasks.show import log_tail

    return log_tail(task)
