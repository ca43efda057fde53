"""Beginning an attempt: what it is told, with its references filled in, and its process."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from millrace.core.errors import InvalidInput, NotFound
from millrace.jobs.attempt_files import write_attempt
from millrace.jobs.engine.child import Child
from millrace.jobs.engine.fence import host
from millrace.jobs.engine.lease import FUSE_S
from millrace.jobs.engine.live_run import LiveRun
from millrace.jobs.engine.run_files import folder_of, log_of
from millrace.jobs.job import RunJobTask, Work
from millrace.jobs.job_run import JobRun, TaskContext, TaskRun
from millrace.jobs.port import Execution, JobDesk
from millrace.jobs.references import Known, fill, fill_parameters, times


@dataclass(frozen=True, slots=True)
class Beginning:
    """What beginning attempts takes.

    Attributes:
        program: what an attempt runs; the path of its `attempt.json` comes after it.
        grace_s: between TERM and KILL.
    """

    desk: JobDesk
    execution: Execution
    home: Path
    program: Sequence[str]
    grace_s: float

    def work(self, live: LiveRun, attempt: TaskRun) -> Work:
        """The attempt's work, with its references filled in.

        Raises:
            InvalidInput: a reference has nothing to stand for it.
        """
        of_run = _of_run(live.run, self.desk.clock.now()) | _of_attempt(attempt)
        newest = {key: attempts[-1] for key, attempts in live.attempts.items()}
        known = Known(
            run=of_run,
            parameters=fill_parameters(live.run.parameters, of_run),
            values=self.desk.values.of(live.run.run_id),
            outputs={key: each.output for key, each in newest.items()},
            results={key: each.result_state or "" for key, each in newest.items()},
            task_runs={key: each.task_run_id for key, each in newest.items()},
        )
        return fill(live.task(attempt.task_key).work, known)

    def process(self, live: LiveRun, attempt: TaskRun, work: Work) -> Child:
        """Start the attempt's process.

        Raises:
            OSError: the system won't; the attempt is RUNNING all the same, and is to be ended.
        """
        task, process = live.task(attempt.task_key), f"{host()}:{uuid.uuid4().hex}"
        log = log_of(self.home, attempt)
        # Who comes after a crash must find the processes: the token is written down before there is one.
        live.take([self.execution.start_task(attempt.task_run_id, process, str(log))])
        path = write_attempt(self._context(live, attempt), work)
        until_s = time.monotonic() + task.timeout_seconds if task.timeout_seconds else None
        child = Child(process, self.grace_s, until_s)
        child.start([*self.program, str(path)], path.parent, log, FUSE_S)
        return child

    def _context(self, live: LiveRun, attempt: TaskRun) -> TaskContext:
        run = live.run
        return TaskContext(
            home=str(self.home),
            folder=live.job.folder,
            artifacts=str(folder_of(self.home, attempt)),
            job=run.job,
            run_id=run.run_id,
            task_run_id=attempt.task_run_id,
            task_key=attempt.task_key,
            attempt=attempt.attempt,
            trigger=run.trigger,
            due=run.due,
            parameters=fill_parameters(run.parameters, _of_run(run, self.desk.clock.now())),
        )


def check_caller(desk: JobDesk, run: JobRun, work: RunJobTask) -> None:
    """Refuse to run a job for a run that it waits for itself.

    Raises:
        InvalidInput: it would never end.
    """
    way, above = [run.job], _above(desk, run)
    while above is not None:
        way.append(above.job)
        above = _above(desk, above)
    if work.job_name in way:
        names = " -> ".join([*reversed(way), work.job_name])
        raise InvalidInput(f"job '{work.job_name}' waits for this run itself: {names}", hint="it would never end")


def _above(desk: JobDesk, run: JobRun) -> JobRun | None:
    """The run whose task asked for this one; None where that is so long past that it is kept no more: it waits for nothing."""
    with suppress(NotFound):
        return None if run.caller is None else desk.runs.get(desk.runs.task(run.caller).run_id)
    return None


def _of_run(run: JobRun, now: datetime) -> dict[str, str]:
    return {
        "job.id": str(run.job_id),
        "job.name": run.job,
        "job.run_id": str(run.run_id),
        "job.run_number": str(run.number),
        "job.repair_count": str(run.repairs),
        "job.trigger.type": run.trigger,
        **times("job.trigger.time", run.due or run.created_at),
        **times("job.start_time", run.started_at or now),
    }


def _of_attempt(attempt: TaskRun) -> dict[str, str]:
    return {
        "task.name": attempt.task_key,
        "task.run_id": str(attempt.task_run_id),
        "task.execution_count": str(attempt.attempt + 1),
    }
