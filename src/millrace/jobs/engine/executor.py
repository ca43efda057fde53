"""Executing runs while the lease is held: what is queued begins, what may start is started, what ended is written down."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from millrace.core.errors import Conflict, InvalidInput, MillraceError
from millrace.jobs.condition import outcome
from millrace.jobs.engine.begin_attempt import Beginning, check_caller
from millrace.jobs.engine.child import Child
from millrace.jobs.engine.end_attempt import INTERRUPTED, REFUSED, TIMED_OUT, ended
from millrace.jobs.engine.fence import clear
from millrace.jobs.engine.live_run import LiveRun, calls_job, monotonic_of
from millrace.jobs.engine.run_files import folder_of, log_of, remove_files
from millrace.jobs.job import ConditionTask, RunJobTask, Task, Work
from millrace.jobs.job_run import JobRun, ResultState, RunId, TaskRun
from millrace.jobs.port import ALL_RUNS, Again, Ended
from millrace.jobs.retry import may_be_resumed, wait_s
from millrace.jobs.submit import submit

_POLL_S = 0.5
_CLEAN_S = 60.0
# No run is let go of sooner, however few are kept: whoever asked for it under a token may ask again, as a scheduler that was killed does.
_YOUNG = timedelta(hours=1)


class Executor:
    """One tenure of the lease. Used by one thread; `beat` by any.

    Args:
        beginning: how attempts begin.
        parallel: how many attempts may have processes at once.
        kept_runs: how many runs of a job are kept, the newest.
    """

    def __init__(self, beginning: Beginning, parallel: int, kept_runs: int) -> None:
        self._beginning, self._parallel, self._kept_runs = beginning, parallel, kept_runs
        self._desk, self._execution = beginning.desk, beginning.execution
        self._live: dict[RunId, LiveRun] = {}
        self._children_lock = threading.Lock()
        self._children: dict[RunId, tuple[LiveRun, Child]] = {}
        self._polled_s = self._cleaned_s = 0.0

    def beat(self) -> None:
        """Tell all keepers that the lease is still ours."""
        with self._children_lock:
            for _, child in self._children.values():
                child.beat()

    def adopt(self) -> None:
        """Take over what was begun by who held the lease before: what it left running is ended first."""
        begun = list(self._execution.begun())
        for run in begun:
            for attempt in self._desk.runs.tasks(run.run_id):
                if attempt.life_cycle_state == "RUNNING" and attempt.process:
                    clear(attempt.process)
        for run in begun:
            live = self._enter(run)
            if live is not None:
                for attempt in live.unfinished():
                    self._adopt(live, attempt)
                self._advance(live)

    def turn(self) -> None:
        """Do what is to be done now, and wait for the next: half a second at most."""
        for attempt_id in self._wait():
            live, child = self._children[attempt_id]
            self._collect(attempt_id, live, child)
            self._advance(live)
        if time.monotonic() - self._polled_s >= _POLL_S:
            self._polled_s = time.monotonic()
            self._stop_asked()
            self._look_after_calls()
            self._admit()
            self._clean()
        self._look_at_clocks()
        self._start()

    def leave(self, *, quietly: bool) -> None:
        """End all processes. `quietly`: write nothing, because the lease may be another's; who has it then writes what became of them."""
        for _, child in self._children.values():
            child.end(INTERRUPTED)
        while self._children:
            for attempt_id in self._wait():
                live, child = self._children[attempt_id]
                if quietly:
                    child.wait()
                    self._forget(attempt_id, live)
                else:
                    self._collect(attempt_id, live, child)
            for _, child in self._children.values():
                child.look()
        self._live.clear()

    # Runs

    def _admit(self) -> None:
        """Begin what is queued, as far as each job's limit allows."""
        for name, waiting in self._execution.waiting_jobs().items():
            going = sum(live.run.job == name for live in self._live.values())
            for run_id in waiting[: max(0, self._most(name, waiting[0]) - going)]:
                self._begin_run(run_id)

    def _most(self, name: str, run_id: RunId) -> int:
        """How many runs of a job may go on at once: as it is kept, or was."""
        try:
            kept = self._desk.jobs.find(name)
            return (kept.job if kept else self._desk.runs.declared(run_id)).max_concurrent_runs
        except InvalidInput:
            return 1  # who begins it will say what is wrong

    def _begin_run(self, run_id: RunId) -> None:
        try:
            timeout_s = self._desk.runs.declared(run_id).timeout_seconds
        except InvalidInput as error:
            self._desk.runs.stop(run_id, f"its job can't be read: {error.message}")
            return
        run = self._execution.begin(run_id, _from_now(timeout_s) if timeout_s else None)
        live = self._enter(run) if run else None
        if live:
            self._advance(live)

    def _enter(self, run: JobRun) -> LiveRun | None:
        """Have a run in memory; None where its job can't be read, as one of a newer millrace: it ends, and holds up nobody."""
        try:
            job = self._desk.runs.declared(run.run_id)
        except InvalidInput as error:
            message = f"its job can't be read: {error.message}"
            for attempt in self._desk.runs.tasks(run.run_id):
                if not attempt.is_over:
                    self._execution.end_task(attempt.task_run_id, Ended("FAILED", message, interrupted=True))
            self._execution.end(run.run_id, "FAILED", message)
            return None
        live = LiveRun(run, job, monotonic_of(run.deadline, float(job.timeout_seconds)))
        live.take(self._desk.runs.tasks(run.run_id))
        self._live[run.run_id] = live
        return live

    def _adopt(self, live: LiveRun, attempt: TaskRun) -> None:
        """Go on with an attempt that had begun."""
        task = live.task(attempt.task_key)
        match attempt.life_cycle_state:
            case "WAITING_FOR_RETRY":
                live.retries[attempt.task_key] = monotonic_of(attempt.retry_at, _pause_s(live, task)) or 0.0
            case "RUNNING" if calls_job(task) and live.is_stopping:
                self._find_call(live, attempt)
            case "RUNNING" if calls_job(task):
                self._guard(live, attempt, lambda: self._call(live, attempt))
            case "RUNNING":
                # Where its outcome is there, it was done, and only that was not written down.
                home = self._beginning.home
                self._over(live, attempt, ended(folder_of(home, attempt), log_of(home, attempt), None, INTERRUPTED))
            case _:
                pass

    def _advance(self, live: LiveRun) -> None:
        """Whatever follows from how its tasks stand."""
        if live.is_stopping:
            self._wind_up(live)
            return
        moves = live.moves()
        for key, result in moves.end.items():
            live.take(self._execution.end_task(live.newest(key).task_run_id, Ended(result)))
        live.starting |= set(moves.start)  # retries that are due are in there as well
        final = live.result()
        if final is not None:
            self._end(live, final, "" if final == "SUCCESS" else live.reason())

    def _end(self, live: LiveRun, result: ResultState, message: str) -> None:
        self._execution.end(live.run.run_id, result, message)
        del self._live[live.run.run_id]
        for other in list(self._live.values()):
            if live.run.run_id in other.calls.values():
                self._look_after(other)

    def _stop_asked(self) -> None:
        for run_id in self._execution.stopping() if self._live else ():
            live = self._live.get(run_id)
            if live is not None and not live.is_stopping:
                live.run = self._desk.runs.get(run_id)
                self._wind_up(live)

    def _wind_up(self, live: LiveRun) -> None:
        """End what goes on of a run that is to stop, and then the run."""
        for child in live.children.values():
            child.end(live.run.state_message)
        for called in live.calls.values():
            self._desk.runs.stop(called, f"run {live.run.run_id}, which waited for it, was stopped")
        live.calls.clear()
        live.starting.clear()
        if live.is_quiet:
            for attempt in live.unfinished():
                live.take(self._execution.end_task(attempt.task_run_id, Ended("CANCELED", live.run.state_message)))
            self._end(live, live.run.stop_as or "CANCELED", live.run.state_message)

    def _clean(self) -> None:
        """Let go of runs that are past, some at a time. Their files go first: who is killed between finds the runs again."""
        if self._cleaned_s and time.monotonic() - self._cleaned_s < _CLEAN_S:
            return
        past = self._execution.past(self._kept_runs, self._desk.clock.now() - _YOUNG)
        for run_id in past:
            remove_files(self._beginning.home, run_id)
        if past:
            self._execution.forget(past)
        self._cleaned_s = 0.0 if past else time.monotonic()

    # Attempts

    def _start(self) -> None:
        """Start what may start, runs that began first having the first go; what needs no process at once."""
        for live in list(self._live.values()):
            for task in live.job.tasks:
                if task.task_key not in live.starting:
                    continue
                needs_process = not isinstance(task.work, ConditionTask | RunJobTask)
                if needs_process and len(self._children) >= self._parallel:
                    continue
                live.starting.discard(task.task_key)
                attempt = live.newest(task.task_key)
                self._guard(live, attempt, lambda live=live, attempt=attempt: self._begin(live, attempt))  # type: ignore[misc]

    def _begin(self, live: LiveRun, attempt: TaskRun) -> None:
        work = self._beginning.work(live, attempt)
        match work:
            case ConditionTask():
                live.take([self._execution.start_task(attempt.task_run_id, None, None)])
                self._over(live, attempt, Ended("SUCCESS", "", {"outcome": outcome(work)}))
                self._advance(live)
            case RunJobTask():
                live.take([self._execution.start_task(attempt.task_run_id, None, None)])
                self._call(live, attempt, work)
            case _:
                child = self._beginning.process(live, attempt, work)
                live.children[attempt.task_key] = child
                with self._children_lock:
                    self._children[attempt.task_run_id] = (live, child)

    def _call(self, live: LiveRun, attempt: TaskRun, work: Work | None = None) -> None:
        """Ask for the run that a run-job task waits for: the same however often we ask."""
        work = work or self._beginning.work(live, attempt)
        if not isinstance(work, RunJobTask):  # pragma: no cover - the caller has looked
            return
        check_caller(self._desk, live.run, work)
        token, caller = f"task-run/{attempt.task_run_id}", attempt.task_run_id
        known = self._desk.runs.find(work.job_name, token)
        called = (
            known.run_id
            if known
            else submit(
                self._desk,
                work.job_name,
                token=token,
                trigger="RUN_JOB_TASK",
                parameters=work.job_parameters,
                caller=caller,
            )
        )
        self._execution.note(attempt.task_run_id, {"run_id": called})
        live.calls[attempt.task_key] = called
        timeout_s = live.task(attempt.task_key).timeout_seconds
        if timeout_s:
            live.retries[attempt.task_key] = time.monotonic() + timeout_s
        self._polled_s = 0.0

    def _find_call(self, live: LiveRun, attempt: TaskRun) -> None:
        """Of a run that was to stop while nobody executed: the run that its task had asked for, which is to be stopped as well."""
        for run in self._desk.runs.list(limit=ALL_RUNS, unfinished=True):
            if run.caller == attempt.task_run_id:
                live.calls[attempt.task_key] = run.run_id

    def _guard(self, live: LiveRun, attempt: TaskRun, begin: Callable[[], None]) -> None:
        """What can't begin has failed, with the reason. It is not tried again, but for what the system would not do, which may pass."""
        try:
            begin()
        except Conflict:
            raise
        except MillraceError as error:
            self._over(live, attempt, Ended("FAILED", str(error), {REFUSED: True}))
            self._advance(live)
        except OSError as error:
            self._over(live, attempt, Ended("FAILED", str(error)))
            self._advance(live)

    def _collect(self, attempt_id: RunId, live: LiveRun, child: Child) -> None:
        """An attempt's process has ended."""
        code = child.wait()
        attempt = self._forget(attempt_id, live)
        home = self._beginning.home
        self._over(live, attempt, ended(folder_of(home, attempt), log_of(home, attempt), code, child.reason))

    def _forget(self, attempt_id: RunId, live: LiveRun) -> TaskRun:
        with self._children_lock:
            del self._children[attempt_id]
        attempt = next(each[-1] for each in live.attempts.values() if each[-1].task_run_id == attempt_id)
        del live.children[attempt.task_key]
        return attempt

    def _over(self, live: LiveRun, attempt: TaskRun, how: Ended) -> None:
        """Write how an attempt ended, and whether it is tried again."""
        again, key = self._again(live, attempt, how), attempt.task_key
        live.take(self._execution.end_task(attempt.task_run_id, how, again))
        if again is not None and again.retry_at is not None:
            live.retries[key] = monotonic_of(again.retry_at, _pause_s(live, live.task(key))) or 0.0

    def _again(self, live: LiveRun, attempt: TaskRun, how: Ended) -> Again | None:
        attempts = live.of_this_repair(attempt.task_key)
        if live.is_stopping:
            return None
        if how.interrupted:
            return Again() if may_be_resumed(attempts) else None
        wait = None if REFUSED in how.output else wait_s(live.task(attempt.task_key), attempts, how.result)
        return None if wait is None else Again(_from_now(wait))

    # What others did, and the clock

    def _look_after_calls(self) -> None:
        for live in list(self._live.values()):
            if live.calls:
                self._look_after(live)

    def _look_after(self, live: LiveRun) -> None:
        """End run-job tasks whose runs have ended."""
        for key, called in list(live.calls.items()):
            run = self._desk.runs.get(called)
            if run.is_over:
                del live.calls[key]
                live.retries.pop(key, None)
                good = run.result_state == "SUCCESS"
                said = f"run {called} of job '{run.job}' ended as {run.result_state or run.life_cycle_state}"
                message = said if not run.state_message else f"{said}: {run.state_message}"
                how = Ended("SUCCESS" if good else "FAILED", "" if good else message, {"run_id": called})
                self._over(live, live.newest(key), how)
                self._advance(live)

    def _look_at_clocks(self) -> None:
        now_s = time.monotonic()
        for live in list(self._live.values()):
            if live.until_s is not None and now_s >= live.until_s and not live.is_stopping:
                said = f"the run's time-out of {live.job.timeout_seconds} s is over"
                live.run = self._desk.runs.stop(live.run.run_id, said, "TIMEDOUT")
                self._wind_up(live)
            for key, child in list(live.children.items()):
                if child.until_s is not None and now_s >= child.until_s:
                    child.end(f"{TIMED_OUT} after {live.task(key).timeout_seconds} s")
                child.look()
            for key, until_s in list(live.retries.items()):
                if now_s >= until_s and not live.is_stopping:
                    del live.retries[key]
                    self._due(live, key)

    def _due(self, live: LiveRun, key: str) -> None:
        """A retry may begin; or a run-job task has waited too long."""
        called = live.calls.pop(key, None)
        if called is None:
            live.starting.add(key)
            return
        self._desk.runs.stop(called, "who waited for it timed out")
        message = f"{TIMED_OUT} after {live.task(key).timeout_seconds} s"
        self._over(live, live.newest(key), Ended("TIMEDOUT", message, {"run_id": called}))
        self._advance(live)

    def _wait(self) -> Iterable[RunId]:
        """Attempts whose processes have ended, as soon as there is one, or the next thing is due."""
        by_pipe = {child.done: attempt_id for attempt_id, (_, child) in self._children.items()}
        ready = select.select(list(by_pipe), [], [], self._patience_s())[0]
        return [by_pipe[pipe] for pipe in ready]

    def _patience_s(self) -> float:
        now_s = time.monotonic()
        dues = [self._polled_s + _POLL_S]
        for live in self._live.values():
            dues += live.retries.values()
            dues += [
                until_s for until_s in (live.until_s, *(child.until_s for child in live.children.values())) if until_s
            ]
        waits = any(live.starting for live in self._live.values()) and len(self._children) < self._parallel
        return 0.0 if waits else min(max(min(dues) - now_s, 0.0), _POLL_S)


def _pause_s(live: LiveRun, task: Task) -> float:
    """How long the pause is that the newest attempt waits for: no more, however the machine's clock was put."""
    *earlier, _ = live.of_this_repair(task.task_key)
    failed = earlier[-1].result_state if earlier else None
    return (failed and wait_s(task, earlier, failed)) or 0.0


def _from_now(seconds: float) -> datetime:
    return datetime.fromtimestamp(time.time(), UTC) + timedelta(seconds=seconds)
