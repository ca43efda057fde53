"""What every `JobStore`, `JobRunStore`, `TaskValueStore` and `Execution` must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import Conflict, NotFound
from millrace.jobs.job import CronSchedule, Job, SparkPythonTask, Task
from millrace.jobs.job_run import JobId, JobRun, RunId
from millrace.jobs.port import EXECUTOR, Again, Ended, Execution, JobDesk, RunOrder
from millrace.testing.race import race

_T = datetime(2025, 3, 1, 6, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_NONE = RunId(0)

Opened = Callable[[], JobDesk]


def job(name: str = "refresh", *, most: int = 1, queue: bool = True) -> Job:
    """Two tasks, one after the other."""
    tasks = [Task("load", SparkPythonTask("load.py")), Task("count", SparkPythonTask("count.py"), depends_on=["load"])]
    return Job(name, tasks, parameters={"day": "today"}, max_concurrent_runs=most, queue=queue)


def asked(desk: JobDesk, known_as: str = "t", name: str = "refresh") -> JobRun:
    """A run of the job that is kept."""
    return desk.runs.add(RunOrder(desk.jobs.get(name), known_as, "PERIODIC", _T, {"day": "häufig"}))


def executing(desk: JobDesk, holder: str = "one") -> Execution:
    """The executor's writes, for a holder of the lease."""
    assert desk.leases.acquire(EXECUTOR, holder, 60)
    return desk.execution(holder)


def _clock(desk: JobDesk) -> ManualClock:
    assert isinstance(desk.clock, ManualClock)
    return desk.clock


def _kinds(desk: JobDesk) -> list[str]:
    return [event.kind for event in desk.events.read(subject="job/refresh")]


class JobStoreSuite:
    """Tests of a `JobStore`; give the fixture `desk`, whose clock is a ManualClock at six on 2025-03-01."""

    def test_a_job_reads_back_as_it_was_put(self, desk: Opened) -> None:
        given = replace(job(), schedule=CronSchedule("0 0 6 * * ?", "Europe/Berlin"), tags={"team": "churn"})
        kept = desk().jobs.put(given)
        assert desk().jobs.get("refresh") == desk().jobs.of_id(kept.job_id) == desk().jobs.find("refresh") == kept
        assert kept.owner == "user:ada"
        assert (kept.job.name, kept.job.schedule, kept.job.tags) == (given.name, given.schedule, given.tags)
        assert [task.task_key for task in kept.job.tasks] == ["load", "count"]

    def test_a_job_that_is_put_again_keeps_its_id(self, desk: Opened) -> None:
        one = desk()
        first = one.jobs.put(job())
        _clock(one).advance(_HOUR)
        assert one.jobs.put(job()) == first
        second = one.jobs.put(job(most=3))
        assert (second.job_id, second.created_at, second.updated_at) == (first.job_id, _T, _T + _HOUR)
        assert desk().jobs.get("refresh").job.max_concurrent_runs == 3
        assert _kinds(one) == ["job.created", "job.updated"]

    def test_jobs_are_listed_by_name_and_an_unknown_one_has_the_nearest(self, desk: Opened) -> None:
        one = desk()
        for name in ("train", "refresh"):
            one.jobs.put(job(name))
        assert [kept.job.name for kept in one.jobs.list()] == ["refresh", "train"]
        assert one.jobs.find("refesh") is None
        with pytest.raises(NotFound, match="did you mean 'refresh'"):
            one.jobs.get("refesh")
        with pytest.raises(NotFound):
            one.jobs.of_id(JobId(77))

    def test_a_removed_job_is_gone_and_its_id_is_not_given_again(self, desk: Opened) -> None:
        one = desk()
        first = one.jobs.put(job())
        one.jobs.remove("refresh")
        with pytest.raises(NotFound):
            one.jobs.remove("refresh")
        assert one.jobs.put(job()).job_id > first.job_id
        assert _kinds(one) == ["job.created", "job.deleted", "job.created"]

    def test_a_job_that_is_put_by_many_at_once_is_one(self, desk: Opened) -> None:
        desk()
        made = race(4, lambda number: desk().jobs.put(job(most=number + 1)))
        assert len({kept.job_id for kept in made}) == 1


class JobRunStoreSuite:
    """Tests of a `JobRunStore`; give the fixture `desk`, as for jobs."""

    def test_a_run_reads_back_as_it_was_asked_for(self, desk: Opened) -> None:
        one = desk()
        kept = one.jobs.put(job())
        made = asked(one)
        assert made == JobRun(
            made.run_id,
            kept.job_id,
            "refresh",
            "t",
            1,
            "PERIODIC",
            _T,
            {"day": "häufig"},
            "QUEUED",
            None,
            "",
            _T,
            None,
            None,
            "user:ada",
        )
        assert desk().runs.get(made.run_id) == desk().runs.find("refresh", "t") == made
        assert desk().runs.declared(made.run_id) == kept.job
        assert list(desk().runs.tasks(made.run_id)) == []

    def test_asking_twice_under_one_token_makes_one_run(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        first = asked(one)
        assert asked(desk()) == first
        other = asked(one, "u")
        assert (other.number, other.run_id > first.run_id) == (2, True)
        assert _kinds(one).count("job_run.queued") == 2

    def test_many_who_ask_at_once_under_one_token_make_one_run(self, desk: Opened) -> None:
        desk().jobs.put(job())
        made = race(4, lambda number: [asked(desk(), f"tick-{tick}").run_id for tick in range(3 + 0 * number)])
        assert len({tuple(each) for each in made}) == 1
        assert sorted(run.number for run in desk().runs.list("refresh")) == [1, 2, 3]

    def test_where_the_job_does_not_queue_more_runs_than_it_may_have_are_skipped(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job(most=2, queue=False))
        runs = [asked(one, str(number)) for number in range(3)]
        assert [run.life_cycle_state for run in runs] == ["QUEUED", "QUEUED", "SKIPPED"]
        assert runs[2].ended_at == _T
        assert "2 of 2" in runs[2].state_message
        one.runs.stop(runs[0].run_id, "enough")
        assert asked(one, "later").life_cycle_state == "QUEUED"

    def test_runs_are_newest_first_and_limited(self, desk: Opened) -> None:
        one = desk()
        for name in ("refresh", "train"):
            one.jobs.put(job(name))
        made = [asked(one, str(number), name).run_id for number, name in enumerate(["refresh", "train", "refresh"])]
        one.runs.stop(made[0], "enough")
        assert [run.run_id for run in one.runs.list()] == made[::-1]
        assert [run.run_id for run in one.runs.list("refresh")] == [made[2], made[0]]
        assert [run.run_id for run in one.runs.list(limit=1)] == [made[2]]
        assert [run.run_id for run in one.runs.list("refresh", unfinished=True)] == [made[2]]

    def test_a_run_that_has_not_begun_stops_at_once(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        run = asked(one)
        _clock(one).advance(-_HOUR)  # the clock may go back: nothing ends before it was made
        stopped = one.runs.stop(run.run_id, "enough")
        assert (stopped.life_cycle_state, stopped.result_state, stopped.ended_at) == ("TERMINATED", "CANCELED", _T)
        assert one.runs.stop(run.run_id, "again") == stopped
        assert executing(one).begin(run.run_id, None) is None
        assert _kinds(one)[-1] == "job_run.terminated"

    def test_a_run_that_has_begun_is_told_to_stop(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        run, execution = asked(one), executing(one)
        execution.begin(run.run_id, None)
        assert list(execution.stopping()) == []
        stopped = desk().runs.stop(run.run_id, "took too long", "TIMEDOUT")
        assert (stopped.life_cycle_state, stopped.result_state, stopped.stop_as) == ("TERMINATING", None, "TIMEDOUT")
        assert list(execution.stopping()) == [run.run_id]
        with pytest.raises(Conflict):
            one.runs.reopen(run.run_id, job(), ["load"])

    def test_an_unknown_run_is_not_found(self, desk: Opened) -> None:
        one = desk()
        for ask in (one.runs.get, one.runs.task, one.runs.declared):
            with pytest.raises(NotFound):
                ask(RunId(77))
        for ask in (one.runs.get, one.runs.task):
            with pytest.raises(NotFound):
                ask(RunId(2**63))  # which people may type
        with pytest.raises(NotFound):
            one.runs.stop(RunId(77), "")

    def test_a_reopened_run_has_a_new_attempt_of_each_of_the_tasks(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        run, execution = asked(one), executing(one)
        execution.begin(run.run_id, None)
        load, count = one.runs.tasks(run.run_id)
        execution.end_task(load.task_run_id, Ended("SUCCESS"))
        execution.end_task(count.task_run_id, Ended("FAILED", "no rows"))
        execution.end(run.run_id, "FAILED", "no rows")
        more, given = Task("tell", SparkPythonTask("tell.py")), {"day": "later", "since": "new"}
        again = one.runs.reopen(run.run_id, replace(job(), tasks=[*job().tasks, more], parameters=given), ["count"])
        assert (again.life_cycle_state, again.result_state, again.ended_at, again.repairs) == ("QUEUED", None, None, 1)
        assert again.parameters == {"day": "häufig", "since": "new"}
        assert execution.begin(run.run_id, None) is not None
        found = [
            (each.task_key, each.attempt, each.repair, each.life_cycle_state) for each in one.runs.tasks(run.run_id)
        ]
        assert found == [
            ("load", 0, 0, "TERMINATED"),
            ("count", 0, 0, "TERMINATED"),
            ("count", 1, 1, "BLOCKED"),
            ("tell", 0, 1, "BLOCKED"),
        ]

    def test_a_repair_that_is_canceled_before_it_begins_leaves_no_attempt_open(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        run, execution = asked(one), executing(one)
        execution.begin(run.run_id, None)
        for each in one.runs.tasks(run.run_id):
            execution.end_task(each.task_run_id, Ended("FAILED"))
        execution.end(run.run_id, "FAILED", "")
        one.runs.reopen(run.run_id, job(), ["load", "count"])
        one.runs.stop(run.run_id, "enough")
        assert all(each.is_over and each.ended_at for each in one.runs.tasks(run.run_id))


class TaskValueStoreSuite:
    """Tests of a `TaskValueStore`; give the fixture `desk`, as for jobs."""

    @pytest.mark.parametrize("value", [1, 1.0, True, None, "", "häufig", [], {"a": [1, None]}, 2**53 + 1])
    def test_a_value_reads_back_as_it_was_set(self, desk: Opened, value: object) -> None:
        one = desk()
        one.jobs.put(job())
        run = asked(one).run_id
        one.values.set(run, "load", "rows", value)
        found = desk().values.of(run)["load"]["rows"]
        assert found == value
        assert type(found) is type(value)

    def test_the_last_value_wins_and_runs_have_their_own(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        first, second = asked(one, "1").run_id, asked(one, "2").run_id
        for task, name, value in [("load", "n", 1), ("load", "n", 2), ("load", "m", 3), ("count", "n", 4)]:
            one.values.set(first, task, name, value)
        assert desk().values.of(first) == {"load": {"n": 2, "m": 3}, "count": {"n": 4}}
        assert desk().values.of(second) == {}


class ExecutionSuite:
    """Tests of an `Execution`; give the fixture `desk`, as for jobs."""

    def test_a_run_from_the_queue_to_its_end(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        run, execution = asked(one), executing(one)
        assert execution.waiting_jobs() == {"refresh": [run.run_id]}
        assert list(execution.begun()) == []
        deadline, clock = _T + 9 * _HOUR, _clock(one)
        clock.advance(_HOUR)
        begun = execution.begin(run.run_id, deadline)
        assert begun == replace(run, life_cycle_state="RUNNING", started_at=_T + _HOUR, deadline=deadline)
        assert execution.begin(run.run_id, None) is None
        assert execution.waiting_jobs() == {}
        assert list(execution.begun()) == [begun]
        load, count = desk().runs.tasks(run.run_id)
        assert [(each.task_key, each.attempt, each.life_cycle_state) for each in (load, count)] == [
            ("load", 0, "BLOCKED"),
            ("count", 0, "BLOCKED"),
        ]
        started = execution.start_task(load.task_run_id, "host:abc", "/logs/load.0.log")
        assert (started.life_cycle_state, started.process, started.log_path, started.started_at) == (
            "RUNNING",
            "host:abc",
            "/logs/load.0.log",
            _T + _HOUR,
        )
        execution.note(load.task_run_id, {"run_id": 7})
        assert desk().runs.task(load.task_run_id).output == {"run_id": 7}
        clock.advance(_HOUR)
        (over,) = execution.end_task(load.task_run_id, Ended("SUCCESS", "", {"rows": 3}))
        assert (over.life_cycle_state, over.result_state, over.output, over.ended_at) == (
            "TERMINATED",
            "SUCCESS",
            {"rows": 3},
            _T + 2 * _HOUR,
        )
        execution.end_task(count.task_run_id, Ended("EXCLUDED"))
        ended = execution.end(run.run_id, "SUCCESS", "")
        assert (ended.life_cycle_state, ended.result_state, ended.ended_at) == ("TERMINATED", "SUCCESS", _T + 2 * _HOUR)
        assert desk().runs.get(run.run_id) == ended
        assert list(execution.begun()) == []
        assert _kinds(one) == [
            "job.created",
            "job_run.queued",
            "job_run.running",
            "task_run.running",
            "task_run.terminated",
            "task_run.terminated",
            "job_run.terminated",
        ]

    def test_an_attempt_ends_together_with_the_beginning_of_the_next(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        run, execution = asked(one), executing(one)
        execution.begin(run.run_id, None)
        load, _ = one.runs.tasks(run.run_id)
        execution.start_task(load.task_run_id, "host:abc", None)
        over, after = execution.end_task(load.task_run_id, Ended("FAILED", "no rows"), Again(_T + _HOUR))
        assert (over.result_state, over.state_message) == ("FAILED", "no rows")
        assert (after.attempt, after.life_cycle_state, after.retry_at) == (1, "WAITING_FOR_RETRY", _T + _HOUR)
        execution.start_task(after.task_run_id, "host:def", None)
        over, after = execution.end_task(after.task_run_id, Ended("FAILED", "gone", interrupted=True), Again())
        assert (over.life_cycle_state, over.retry_at) == ("INTERNAL_ERROR", None)
        assert (after.attempt, after.life_cycle_state, after.retry_at) == (2, "BLOCKED", None)
        assert [each.attempt for each in one.runs.tasks(run.run_id) if each.task_key == "load"] == [0, 1, 2]

    def test_nothing_ends_before_it_began_whatever_the_clock_does(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        run, execution = asked(one), executing(one)
        execution.begin(run.run_id, None)
        load, count = one.runs.tasks(run.run_id)
        execution.start_task(load.task_run_id, None, None)
        _clock(one).advance(-9 * _HOUR)
        (over,) = execution.end_task(load.task_run_id, Ended("SUCCESS"))
        started = execution.start_task(count.task_run_id, None, None)
        execution.end_task(count.task_run_id, Ended("SUCCESS"))
        assert over.ended_at == started.started_at == execution.end(run.run_id, "SUCCESS", "").ended_at == _T

    def test_runs_that_are_past_are_forgotten_with_all_that_is_theirs(self, desk: Opened) -> None:
        one = desk()
        for name in ("refresh", "other"):
            one.jobs.put(job(name))
        execution, runs = executing(one), [asked(one, str(number)) for number in range(5)]
        asked(one, name="other")
        for run in runs[:4]:
            execution.begin(run.run_id, None)
            one.values.set(run.run_id, "load", "rows", 1)
            execution.end(run.run_id, "SUCCESS", "")
        assert list(execution.past(1, _T)) == []
        assert list(execution.past(1, _T + _HOUR)) == [run.run_id for run in runs[:4]]
        past = list(execution.past(3, _T + _HOUR))
        assert past == [run.run_id for run in runs[:2]]
        attempt, events = one.runs.tasks(past[0])[0], _kinds(one)
        one.runs.reopen(past[1], job(), ["load"])
        execution.forget(past)
        for gone in (lambda: desk().runs.get(past[0]), lambda: desk().runs.task(attempt.task_run_id)):
            with pytest.raises(NotFound):
                gone()
        assert list(desk().runs.tasks(past[0])) == []
        assert desk().values.of(past[0]) == {}
        assert desk().runs.get(past[1]).life_cycle_state == "QUEUED"
        assert len(desk().values.of(past[1])) == 1
        assert _kinds(one) == [*events, "job_run.queued"]
        after = asked(one, "after")
        assert (after.number, after.run_id > runs[-1].run_id) == (6, True)

    def test_a_run_that_an_attempt_waits_for_is_not_past(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        execution, caller = executing(one), asked(one, "caller")
        execution.begin(caller.run_id, None)
        load, _ = one.runs.tasks(caller.run_id)
        one.jobs.put(job("called"))
        order = RunOrder(one.jobs.get("called"), "t", "RUN_JOB_TASK", None, {}, load.task_run_id)
        called = one.runs.add(order)
        one.runs.stop(called.run_id, "enough")
        asked(one, name="called", known_as="u")
        assert list(execution.past(1, _T + _HOUR)) == []
        execution.end_task(load.task_run_id, Ended("CANCELED"))
        assert list(execution.past(1, _T + _HOUR)) == [called.run_id]

    def test_who_has_lost_the_lease_writes_nothing(self, desk: Opened) -> None:
        one = desk()
        one.jobs.put(job())
        run, old = asked(one), executing(one, "old")
        old.begin(run.run_id, None)
        load, _ = one.runs.tasks(run.run_id)
        one.leases.release(EXECUTOR, "old")
        new = executing(desk(), "new")
        for write in (
            lambda: old.start_task(load.task_run_id, "host:abc", None),
            lambda: old.note(load.task_run_id, {}),
            lambda: old.end_task(load.task_run_id, Ended("SUCCESS")),
            lambda: old.end(run.run_id, "SUCCESS", ""),
            lambda: old.begin(run.run_id, None),
            lambda: old.forget([run.run_id]),
        ):
            with pytest.raises(Conflict):
                write()
        assert one.runs.task(load.task_run_id) == load
        assert new.end_task(load.task_run_id, Ended("SUCCESS"))[0].result_state == "SUCCESS"
