from __future__ import annotations

from collections.abc import Iterator

import pytest

from millrace.database.engine import open_database
from millrace.jobs.adapters.sql import SqlLeases


class Machine:
    """A machine's time that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def leases(machine: Machine) -> Iterator[SqlLeases]:
    engine = open_database("sqlite://")
    yield SqlLeases(engine, machine)
    engine.dispose()


def test_a_lease_ends_exactly_when_its_time_is_over(leases: SqlLeases, machine: Machine) -> None:
    assert leases.acquire("executor", "a", 10)
    machine.now_s += 9.999
    assert leases.holder("executor") == "a"
    assert not leases.acquire("executor", "b", 10)
    machine.now_s += 0.001
    assert leases.holder("executor") is None
    assert leases.acquire("executor", "b", 10)


def test_renewing_counts_from_now(leases: SqlLeases, machine: Machine) -> None:
    leases.acquire("executor", "a", 10)
    machine.now_s += 8
    assert leases.acquire("executor", "a", 10)
    machine.now_s += 8
    assert leases.holder("executor") == "a"
