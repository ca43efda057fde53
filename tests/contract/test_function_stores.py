"""Feature functions and named feature specs in the workspace database, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from millrace.core.clock import ManualClock
from millrace.core.errors import AlreadyExists, NotFound
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog
from millrace.features.adapters.sql_feature_specs import SqlFeatureSpecStore
from millrace.features.adapters.sql_functions import SqlFunctionStore
from millrace.features.types import BoundFunction, FeatureSpec, FunctionDefinition, Parameter

NOW = datetime(2025, 1, 1, tzinfo=UTC)
ADA = Principal("user", "ada")


def definition(name: str = "ml.f.one", code: str = "1") -> FunctionDefinition:
    source = f"def f(x: float, y: int | None = 1) -> float:\n    return x + {code}  # é\n"
    parameters = (
        Parameter("x", "float", nullable=False, required=True),
        Parameter("y", "int", nullable=True, required=False),
    )
    return FunctionDefinition(name, "f", source, parameters, "float", returns_null=False, code_hash=f"hash of {code}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def functions(engine: Engine, clock: ManualClock) -> SqlFunctionStore:
    return SqlFunctionStore(engine, clock, ADA)


@pytest.fixture
def specs(engine: Engine, clock: ManualClock) -> SqlFeatureSpecStore:
    return SqlFeatureSpecStore(engine, clock, ADA)


def test_a_function_reads_back_as_it_was_written(functions: SqlFunctionStore) -> None:
    made = functions.save(definition(), "Adds")
    assert (made.definition, made.version, made.description) == (definition(), 1, "Adds")
    assert (made.owner, made.created_at) == ("user:ada", NOW)
    assert functions.get("ml.f.one") == functions.find("ml.f.one") == made


def test_other_code_is_a_new_version_and_the_same_code_is_none(functions: SqlFunctionStore, clock: ManualClock) -> None:
    first = functions.save(definition(), "Adds")
    clock.advance(timedelta(days=1))
    assert functions.save(definition()) == first
    assert functions.save(definition(), "Adds one") == replace(first, description="Adds one")
    second = functions.save(definition(code="2"))
    back = functions.save(definition())  # what was said last counts
    assert [each.version for each in functions.versions("ml.f.one")] == [1, 2, 3]
    assert functions.get("ml.f.one") == back
    assert functions.get("ml.f.one", 2) == second
    assert second.created_at == NOW + timedelta(days=1)


def test_the_list_has_the_newest_of_each_by_name(functions: SqlFunctionStore) -> None:
    assert list(functions.list()) == []
    for name, code in [("b.two", "1"), ("a.one", "1"), ("b.two", "2"), ("a_.x", "1")]:
        functions.save(definition(name, code))
    assert [(each.definition.name, each.version) for each in functions.list()] == [
        ("a.one", 1),
        ("a_.x", 1),
        ("b.two", 2),
    ]


def test_what_is_not_there(functions: SqlFunctionStore) -> None:
    assert functions.find("ml.f.one") is None
    with pytest.raises(NotFound, match=r"function ml\.f\.one does not exist") as none_yet:
        functions.get("ml.f.one")
    assert "create_function" in none_yet.value.hint
    functions.save(definition())
    for call in (functions.get, functions.versions, functions.delete):
        with pytest.raises(NotFound) as refused:
            call("ml.f.oen")
        assert "did you mean 'ml.f.one'?" in refused.value.hint
    with pytest.raises(NotFound, match="has no version 2") as refused:
        functions.get("ml.f.one", 2)
    assert "its newest is 1" in refused.value.hint


def test_a_deleted_function_is_gone_with_all_versions(functions: SqlFunctionStore, engine: Engine) -> None:
    functions.save(definition())
    functions.save(definition(code="2"))
    functions.delete("ml.f.one")
    assert functions.find("ml.f.one") is None
    assert functions.save(definition()).version == 1
    kinds = [(event.kind, event.subject, event.data["version"]) for event in SqlEventLog(engine).read()]
    assert kinds == [
        ("function.registered", "ml.f.one", 1),
        ("function.registered", "ml.f.one", 2),
        ("function.deleted", "ml.f.one", 2),
        ("function.registered", "ml.f.one", 1),
    ]


def test_who_registers_the_same_code_at_once_makes_one_version(engine: Engine, clock: ManualClock) -> None:
    save: Callable[[int], int] = lambda _: SqlFunctionStore(engine, clock, ADA).save(definition()).version  # noqa: E731 - short
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(save, range(8))) == [1] * 8
    other = lambda number: SqlFunctionStore(engine, clock, ADA).save(definition(code=f"1 + {number}")).version  # noqa: E731 - short
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(other, range(4))) == [2, 3, 4, 5]


def spec(*inputs: str) -> FeatureSpec:
    bound = BoundFunction(definition(), 4, {"x": "a"}, "sum", {"x": "double"})
    return FeatureSpec((), None, ("b",), inputs, ("a",), (bound,))


def test_a_spec_reads_back_as_it_was_written(specs: SqlFeatureSpecStore) -> None:
    made = specs.add("ml.s.one", spec("sum"), "For churn")
    assert (made.name, made.spec, made.description, made.owner) == ("ml.s.one", spec("sum"), "For churn", "user:ada")
    assert specs.get("ml.s.one") == made
    with pytest.raises(AlreadyExists, match=r"feature spec ml\.s\.one exists") as refused:
        specs.add("ml.s.one", spec("other"), "")
    assert "update_feature_spec" in refused.value.hint
    assert specs.get("ml.s.one") == made


def test_an_update_replaces_what_is_given(specs: SqlFeatureSpecStore, clock: ManualClock) -> None:
    made = specs.add("ml.s.one", spec("sum"), "For churn")
    clock.advance(timedelta(hours=1))
    later = NOW + timedelta(hours=1)
    assert specs.update("ml.s.one", owner="team:growth") == replace(made, owner="team:growth", updated_at=later)
    assert specs.update("ml.s.one", spec=spec("other")).spec == spec("other")
    assert specs.update("ml.s.one", description="").description == ""
    assert specs.get("ml.s.one").created_at == NOW


def test_specs_are_listed_by_name_and_forgotten(specs: SqlFeatureSpecStore, engine: Engine) -> None:
    for name in ("b.s", "a.s"):
        specs.add(name, spec("sum"), "")
    assert [each.name for each in specs.list()] == ["a.s", "b.s"]
    specs.delete("a.s")
    assert [each.name for each in specs.list()] == ["b.s"]
    for call in (specs.get, specs.delete, specs.update):
        with pytest.raises(NotFound, match=r"feature spec b\.x does not exist") as refused:
            call("b.x")
        assert "did you mean 'b.s'?" in refused.value.hint
    assert [event.kind for event in SqlEventLog(engine).read()] == [
        "feature_spec.created",
        "feature_spec.created",
        "feature_spec.deleted",
    ]
