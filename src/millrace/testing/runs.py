"""What every `RunStore` and every `Leases` must do."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock

import pytest

from millrace.core.errors import NotFound
from millrace.jobs.port import Leases, RunStore
from millrace.jobs.types import PipelineRun, PipelineRunId, StageRun
from millrace.testing.race import race

_T = datetime(2025, 3, 1, 6, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_SHORT_S = 0.15


class RunStoreSuite:
    """Tests of a `RunStore`; give the fixture `opened`."""

    def test_a_run_reads_back_as_it_was_written(self, opened: Callable[[], RunStore]) -> None:
        run = opened().start("churn", _T, _T + _HOUR, "user:ada", "first")
        opened().end(run, "done", _T + 2 * _HOUR)
        expected = PipelineRun(run, "churn", _T, "done", _T + _HOUR, _T + 2 * _HOUR, "user:ada", "first")
        assert list(opened().runs()) == [expected]

    def test_a_running_run_has_no_end(self, opened: Callable[[], RunStore]) -> None:
        opened().start("churn", _T, _T, "user:ada", "")
        (found,) = opened().runs("churn")
        assert (found.status, found.ended_at) == ("running", None)

    def test_runs_are_newest_first_per_pipeline_and_limited(self, opened: Callable[[], RunStore]) -> None:
        store = opened()
        made = [store.start(name, _T, _T, "user:ada", "") for name in ("a", "b", "a", "a")]
        assert [found.id for found in store.runs("a")] == [made[3], made[2], made[0]]
        assert [found.id for found in store.runs(limit=2)] == [made[3], made[2]]
        assert list(store.runs("nobody")) == []

    def test_a_start_interrupts_what_was_left_running_of_that_pipeline_only(
        self, opened: Callable[[], RunStore]
    ) -> None:
        store = opened()
        killed, other = (store.start(name, _T, _T, "user:ada", "") for name in ("churn", "spend"))
        finished = store.start_stage(killed, "churn", "ingest", "f1", _T)
        store.end_stage(finished, "done", _T, 1.0, {})
        store.start_stage(killed, "churn", "train", "f2", _T)
        opened().start("churn", _T, _T + _HOUR, "user:ada", "again")
        states = {run.id: (run.status, run.ended_at) for run in store.runs()}
        assert states[killed] == ("interrupted", _T + _HOUR)
        assert states[other] == ("running", None)
        assert [stage.status for stage in store.stages(killed)] == ["done", "interrupted"]

    def test_stages_read_back_in_the_order_they_started(self, opened: Callable[[], RunStore]) -> None:
        store = opened()
        run = store.start("churn", _T, _T, "user:ada", "")
        first, second = (store.start_stage(run, "churn", name, f"f-{name}", _T) for name in ("z", "a"))
        store.end_stage(second, "failed", _T + _HOUR, 0.25, {"error": "no rows"})
        store.end_stage(first, "done", _T + _HOUR, 1e-9, {"rows": 3, "share": 1.0, "names": ["é"], "none": None})
        assert list(opened().stages(run)) == [
            StageRun(
                run,
                "churn",
                "z",
                "f-z",
                "done",
                _T,
                _T + _HOUR,
                1e-9,
                {"rows": 3, "share": 1.0, "names": ["é"], "none": None},
            ),
            StageRun(run, "churn", "a", "f-a", "failed", _T, _T + _HOUR, 0.25, {"error": "no rows"}),
        ]

    def test_an_open_stage_has_no_end_and_no_output(self, opened: Callable[[], RunStore]) -> None:
        store = opened()
        run = store.start("churn", _T, _T, "user:ada", "")
        store.start_stage(run, "churn", "train", "f", _T)
        assert list(store.stages(run)) == [StageRun(run, "churn", "train", "f", "running", _T, None, None, {})]

    def test_done_finds_the_newest_that_ended_well_with_this_fingerprint(self, opened: Callable[[], RunStore]) -> None:
        store = opened()
        run = store.start("churn", _T, _T, "user:ada", "")
        for number, (fingerprint, status) in enumerate(
            [("f", "done"), ("f", "refused"), ("f", "failed"), ("f", "skipped"), ("g", "done")]
        ):
            stage = store.start_stage(run, "churn", "train", fingerprint, _T)
            store.end_stage(stage, status, _T, 1.0, {"number": number})  # type: ignore[arg-type]
        store.start_stage(run, "churn", "train", "f", _T)
        found = opened().done("churn", "train", "f")
        assert found is not None
        assert (found.status, found.output) == ("refused", {"number": 1})
        assert store.done("churn", "train", "h") is None
        assert store.done("churn", "deploy", "f") is None
        assert store.done("spend", "train", "f") is None

    def test_latest_is_the_newest_that_came_to_a_result_whatever_its_fingerprint(
        self, opened: Callable[[], RunStore]
    ) -> None:
        store = opened()
        run = store.start("churn", _T, _T, "user:ada", "")
        assert store.latest("churn", "deploy") is None
        for fingerprint, status in [("f", "done"), ("g", "waiting"), ("h", "failed"), ("f", "interrupted")]:
            stage = store.start_stage(run, "churn", "deploy", fingerprint, _T)
            store.end_stage(stage, status, _T, 1.0, {"of": fingerprint})  # type: ignore[arg-type]
        found = opened().latest("churn", "deploy")
        assert found is not None
        assert (found.status, found.output) == ("waiting", {"of": "g"})
        assert store.done("churn", "deploy", "g") is None
        assert store.latest("spend", "deploy") is None

    def test_history_is_what_was_done_oldest_first_once_per_fingerprint(self, opened: Callable[[], RunStore]) -> None:
        store = opened()
        run = store.start("churn", _T, _T, "user:ada", "")
        ends = [("f", "done"), ("g", "failed"), ("h", "done"), ("f", "done"), ("i", "refused")]
        for number, (fingerprint, status) in enumerate(ends):
            stage = store.start_stage(run, "churn", "train", fingerprint, _T)
            store.end_stage(stage, status, _T, 1.0, {"number": number})  # type: ignore[arg-type]
        store.start_stage(run, "churn", "train", "j", _T)
        found = [(stage.fingerprint, stage.output) for stage in opened().history("churn", "train")]
        assert found == [("f", {"number": 0}), ("h", {"number": 2})]
        assert list(store.history("churn", "deploy")) == []
        assert list(store.history("spend", "train")) == []

    def test_a_number_that_is_not_finite_becomes_null(self, opened: Callable[[], RunStore]) -> None:
        store = opened()
        run = store.start("churn", _T, _T, "user:ada", "")
        stage = store.start_stage(run, "churn", "validate", "f", _T)
        store.end_stage(stage, "done", _T, 1.0, {"roc_auc": float("nan"), "loss": float("inf")})
        assert store.stages(run)[0].output == {"roc_auc": None, "loss": None}

    def test_ending_what_never_began_is_not_found(self, opened: Callable[[], RunStore]) -> None:
        with pytest.raises(NotFound):
            opened().end(PipelineRunId(77), "done", _T)
        with pytest.raises(NotFound):
            opened().end_stage(77, "done", _T, 1.0, {})
        assert list(opened().stages(PipelineRunId(77))) == []

    def test_runs_started_at_once_are_all_there(self, opened: Callable[[], RunStore]) -> None:
        opened()

        def start(number: int) -> list[int]:
            store = opened()
            return [store.start(f"pipeline-{number}", _T, _T, "user:ada", "") for _ in range(5)]

        made = [run for runs in race(4, start) for run in runs]
        assert sorted(run.id for run in opened().runs(limit=100)) == sorted(made)
        assert len(set(made)) == 20


class LeasesSuite:
    """Tests of `Leases`; give the fixture `opened`."""

    def test_a_lease_has_one_holder(self, opened: Callable[[], Leases]) -> None:
        one, two = opened(), opened()
        assert one.acquire("executor", "a", 60)
        assert not two.acquire("executor", "b", 60)
        assert two.holder("executor") == "a"
        assert two.acquire("drain", "b", 60)

    def test_its_holder_can_renew_it(self, opened: Callable[[], Leases]) -> None:
        leases = opened()
        assert leases.acquire("executor", "a", 60)
        assert leases.acquire("executor", "a", 60)

    def test_a_released_lease_is_free(self, opened: Callable[[], Leases]) -> None:
        leases = opened()
        leases.acquire("executor", "a", 60)
        leases.release("executor", "a")
        leases.release("executor", "a")
        assert leases.holder("executor") is None
        assert leases.acquire("executor", "b", 60)

    def test_only_its_holder_can_release_it(self, opened: Callable[[], Leases]) -> None:
        leases = opened()
        leases.acquire("executor", "a", 60)
        leases.release("executor", "b")
        assert leases.holder("executor") == "a"

    def test_an_expired_lease_can_be_taken_and_is_then_lost_to_its_old_holder(
        self, opened: Callable[[], Leases]
    ) -> None:
        leases = opened()
        leases.acquire("executor", "a", _SHORT_S)
        while leases.holder("executor") is not None:
            time.sleep(_SHORT_S / 10)
        assert leases.acquire("executor", "b", 60)
        assert not leases.acquire("executor", "a", 60)
        assert leases.holder("executor") == "b"

    def test_of_many_who_try_at_once_one_gets_it(self, opened: Callable[[], Leases]) -> None:
        opened()
        for round_ in range(5):
            taken = race(4, lambda number, round_=round_: opened().acquire(f"lease-{round_}", f"h{number}", 60))  # type: ignore[misc]
            assert sum(taken) == 1
            assert opened().holder(f"lease-{round_}") == f"h{taken.index(True)}"

    def test_never_two_inside_at_once(self, opened: Callable[[], Leases]) -> None:
        opened()
        inside = Lock()
        entered = []

        def work(number: int) -> None:
            leases = opened()
            for _ in range(3):
                while not leases.acquire("executor", f"h{number}", 60):
                    time.sleep(_SHORT_S / 50)
                assert inside.acquire(blocking=False), "two held the lease"
                entered.append(number)
                inside.release()
                leases.release("executor", f"h{number}")

        race(3, work)
        assert sorted(entered) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
