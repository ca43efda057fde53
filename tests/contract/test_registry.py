"""What the Registry port promises, on MLflow's SQLite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, InvalidState, NotFound, PermissionDenied
from millrace.registry.adapters.mlflow import MlflowRegistry
from millrace.registry.types import ModelName, ModelVersion
from millrace.tracking.adapters.mlflow import MlflowTracking
from millrace.tracking.types import ModelToLog

START = datetime(2024, 5, 1, 6, tzinfo=UTC)
CHURN = ModelName("ml.models.customer_churn")
_WRITES = (
    "set_registered_model_alias",
    "set_model_version_tag",
    "delete_model_version_tag",
    "transition_model_version_stage",
)
ONE, TWO, THREE = (ModelVersion(number) for number in "123")


@dataclass(frozen=True)
class House:
    """A registry, and the means to log models for it."""

    registry: MlflowRegistry
    tracking: MlflowTracking
    clock: ManualClock
    root: Path

    def log(self, name: str = "churn") -> tuple[str, str]:
        """A logged model's URI and its run."""
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema
        from sklearn.dummy import DummyClassifier

        signature = ModelSignature(Schema([ColSpec("double", "a")]), Schema([ColSpec("long")]))
        model = DummyClassifier().fit([[0.0], [1.0]], [0, 1])
        run = self.tracking.start("e", name, {})
        return self.tracking.log_model(
            run, "model", ModelToLog(model, "sklearn", signature, requirements=("mlflow",))
        ), run

    def register(self, versions: int = 1) -> None:
        uri, run = self.log()
        for _ in range(versions):
            self.registry.register(CHURN, uri, run, {})

    def stages(self) -> dict[str, str]:
        """MLflow's stage of each version."""
        found = self.registry._store.search_model_versions(f"name = '{CHURN}'", max_results=100)
        return {str(each.version): each.current_stage for each in found}


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: that takes over a second."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowTracking(f"sqlite:///{path}", path.parent / "artifacts", ManualClock(START)).list("none")
    return path


@pytest.fixture
def house(tmp_path: Path, empty_database: Path) -> House:
    for name in ("mlflow.db", "mlflow.db-wal"):
        source = empty_database.parent / name
        if source.exists():
            (tmp_path / name).write_bytes(source.read_bytes())
    url, clock = f"sqlite:///{tmp_path / 'mlflow.db'}", ManualClock(START)
    artifacts = tmp_path / "mlartifacts"
    registry = MlflowRegistry(url, clock, artifacts)
    return House(registry, MlflowTracking(url, artifacts, clock), clock, tmp_path)


def test_a_registered_version(house: House) -> None:
    uri, run = house.log()
    house.clock.advance(timedelta(days=1, microseconds=7))
    made = house.registry.register(CHURN, uri, run, {"code": "abc"})
    assert (made.model, made.version, made.source, made.run_id, made.aliases) == (CHURN, "1", uri, run, ())
    assert made.created_at == START + timedelta(days=1, microseconds=7)
    assert made.tags["code"] == "abc"
    assert house.registry.version(CHURN, ONE) == made
    assert house.registry.models() == [CHURN]


def test_the_run_is_found_by_the_model_where_it_is_not_given(house: House) -> None:
    uri, run = house.log()
    assert house.registry.register(CHURN, uri, None, {}).run_id == run


def test_versions_are_oldest_first_beyond_nine(house: House) -> None:
    house.register(11)
    house.registry.set_alias(CHURN, "production", ModelVersion("10"))
    found = house.registry.versions(CHURN)
    assert [entry.version for entry in found] == [str(number) for number in range(1, 12)]
    assert {entry.version: entry.aliases for entry in found if entry.aliases} == {"10": ("production",)}
    assert house.registry.versions(ModelName("nothing")) == []


def test_a_key_makes_one_version(house: House) -> None:
    uri, run = house.log()
    first = house.registry.register(CHURN, uri, run, {}, key="plan-7")
    assert house.registry.register(CHURN, uri, run, {}, key="plan-7") == first
    assert house.registry.register(CHURN, uri, run, {}, key="plan-8").version == "2"


def test_an_alias_points_moves_and_goes(house: House) -> None:
    registry = house.registry
    assert registry.by_alias(CHURN, "production") is None
    house.register(2)
    assert registry.by_alias(CHURN, "production") is None
    registry.set_alias(CHURN, "production", ONE)
    registry.set_alias(CHURN, "staging", ONE)
    found = registry.by_alias(CHURN, "production")
    assert found is not None
    assert (found.version, found.aliases) == ("1", ("production", "staging"))
    registry.set_alias(CHURN, "production", TWO)
    assert [entry.aliases for entry in registry.versions(CHURN)] == [("staging",), ("production",)]
    registry.remove_alias(CHURN, "production")
    registry.remove_alias(CHURN, "production")
    assert registry.by_alias(CHURN, "production") is None


def test_a_tag_says_since_when_an_alias_points_there(house: House) -> None:
    house.register(2)
    house.registry.set_alias(CHURN, "production", ONE)
    house.clock.advance(timedelta(days=30))
    house.registry.set_alias(CHURN, "production", ONE)
    assert house.registry.version(CHURN, ONE).tags["millrace.alias.production"] == "2024-05-01T06:00:00Z"
    house.registry.set_alias(CHURN, "production", TWO)
    assert house.registry.version(CHURN, TWO).tags["millrace.alias.production"] == "2024-05-31T06:00:00Z"
    assert "millrace.alias.production" not in house.registry.version(CHURN, ONE).tags


def test_an_alias_that_was_moved_by_one_who_was_killed_right_then_gets_its_tags(house: House) -> None:
    house.register(2)
    house.registry.set_alias(CHURN, "production", ONE)
    house.registry._store.set_registered_model_alias(CHURN, "production", TWO)  # and no further
    house.registry.set_alias(CHURN, "production", TWO)
    tags = [house.registry.version(CHURN, each).tags for each in (ONE, TWO)]
    assert ["millrace.alias.production" in each for each in tags] == [False, True]


@pytest.mark.parametrize("writes", range(5))
def test_a_move_that_is_killed_between_any_two_writes_is_completed_by_the_next(house: House, writes: int) -> None:
    house.register(2)
    house.registry.set_alias(CHURN, "production", ONE)
    store, done = house.registry._store, 0

    def dying(write: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **named: object) -> object:
            nonlocal done
            if done == writes:
                raise KeyboardInterrupt
            done += 1
            return write(*args, **named)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in _WRITES:
            patched.setattr(store, name, dying(getattr(store, name)))
        with suppress(KeyboardInterrupt):
            house.registry.set_alias(CHURN, "production", TWO)
    house.registry.set_alias(CHURN, "production", TWO)
    tags = [house.registry.version(CHURN, each).tags for each in (ONE, TWO)]
    assert ["millrace.alias.production" in each for each in tags] == [False, True]
    assert house.stages() == {"1": "Archived", "2": "Production"}


def test_stages_follow_the_aliases(house: House) -> None:
    registry = house.registry
    house.register(3)
    registry.set_alias(CHURN, "shadow", ONE)
    assert house.stages() == {"1": "None", "2": "None", "3": "None"}
    registry.set_alias(CHURN, "staging", ONE)
    assert house.stages()["1"] == "Staging"
    registry.set_alias(CHURN, "production", ONE)
    registry.set_alias(CHURN, "staging", TWO)
    assert house.stages() == {"1": "Production", "2": "Staging", "3": "None"}
    registry.set_alias(CHURN, "previous", ONE)
    registry.set_alias(CHURN, "production", TWO)
    assert house.stages() == {"1": "Archived", "2": "Production", "3": "None"}
    registry.set_alias(CHURN, "production", ONE)
    registry.set_alias(CHURN, "previous", TWO)
    assert house.stages() == {"1": "Production", "2": "Staging", "3": "None"}


def test_tags_are_added(house: House) -> None:
    house.register()
    house.registry.tag(CHURN, ONE, {"a": "1"})
    house.registry.tag(CHURN, ONE, {"a": "2", "b": "3"})
    tags = house.registry.version(CHURN, ONE).tags
    assert (tags["a"], tags["b"]) == ("2", "3")


def test_a_download_is_the_models_own_folder(house: House) -> None:
    uri, run = house.log()
    house.registry.register(CHURN, uri, run, {})
    folder = house.registry.download(CHURN, ONE)
    assert folder == house.registry.download(CHURN, ONE)
    assert folder.is_relative_to(house.root / "mlartifacts")
    assert (folder / "MLmodel").is_file()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with pytest.raises(NotFound, match="are gone"):
        house.registry.download(CHURN, ONE)


def test_a_folder_may_be_registered_without_a_run(house: House) -> None:
    house.register()
    folder = str(house.registry.download(CHURN, ONE))
    made = house.registry.register(ModelName("copy"), folder, None, {})
    assert (made.source, made.run_id) == (folder, None)
    assert str(house.registry.download(ModelName("copy"), ONE)) == folder


def test_what_lies_outside_of_the_store_is_not_given_out(house: House, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (house.root / "mlartifacts" / "link").parent.mkdir(exist_ok=True)
    (house.root / "mlartifacts" / "link").symlink_to(elsewhere)
    sources = [
        str(elsewhere),
        elsewhere.as_uri(),
        str(house.root / "mlartifacts" / ".." / "elsewhere"),
        str(house.root / "mlartifacts" / "link"),
        "mlflow-artifacts:/../elsewhere",
        "mlflow-artifacts:/%2e%2e/elsewhere",
        "http://127.0.0.1:9/model",
        "s3://bucket/model",
    ]
    for number, source in enumerate(sources, 1):
        house.registry.register(CHURN, source, None, {})
        with pytest.raises(PermissionDenied, match=f"customer_churn version {number} lies at"):
            house.registry.download(CHURN, ModelVersion(str(number)))
    trusting = MlflowRegistry(f"sqlite:///{house.root / 'mlflow.db'}", house.clock, tmp_path / "none", [str(elsewhere)])
    assert trusting.download(CHURN, ONE) == elsewhere


def test_what_was_logged_through_the_server_is_in_the_store(house: House) -> None:
    folder = house.root / "mlartifacts" / "1" / "models" / "m 1" / "artifacts"
    folder.mkdir(parents=True)
    house.registry.register(CHURN, "mlflow-artifacts:/1/models/m%201/artifacts", None, {})
    assert house.registry.download(CHURN, ONE) == folder


def test_what_is_not_there_is_named_with_a_hint(house: House) -> None:
    registry = house.registry
    with pytest.raises(NotFound, match=r"there is no model 'a\.b'\n  hint: there is none yet"):
        registry.version(ModelName("a.b"), ONE)
    house.register(2)
    with pytest.raises(NotFound, match="has no version 7\n  hint: there is: 1, 2"):
        registry.version(CHURN, ModelVersion("7"))
    with pytest.raises(NotFound, match=r"did you mean 'ml\.models\.customer_churn'"):
        registry.set_alias(ModelName("ml.models.customer_chrn"), "production", ONE)
    for call in (
        lambda: registry.tag(CHURN, THREE, {}),
        lambda: registry.download(CHURN, THREE),
        lambda: registry.set_alias(CHURN, "production", THREE),
        lambda: registry.version(CHURN, ModelVersion("latest")),
        lambda: registry.remove_alias(ModelName("other"), "production"),
        lambda: registry.register(CHURN, "models:/m-" + "0" * 32, None, {}),
    ):
        with pytest.raises(NotFound):
            call()
    assert len(registry.versions(CHURN)) == 2


def test_a_name_that_mlflow_refuses_is_said(house: House) -> None:
    uri, run = house.log()
    with pytest.raises(InvalidInput):
        house.registry.register(ModelName("a/b"), uri, run, {})


def test_a_model_that_was_not_stored_to_its_end_is_refused(house: House) -> None:
    uri, run = house.log()
    client: Any = house.tracking._client
    half = client.create_logged_model(client.get_run(run).info.experiment_id, "half", source_run_id=run)
    with pytest.raises(InvalidState, match="not stored to its end"):
        house.registry.register(CHURN, f"models:/{half.model_id}", run, {})
    assert house.registry.register(CHURN, uri, run, {}).version == "1"


def test_mlflows_own_client_sees_the_same(house: House) -> None:
    import mlflow

    house.register(2)
    house.registry.set_alias(CHURN, "production", TWO)
    client = mlflow.MlflowClient(tracking_uri=house.registry._url, registry_uri=house.registry._url)
    found = client.get_model_version_by_alias(CHURN, "production")
    assert str(found.version) == "2"
    client.set_registered_model_alias(CHURN, "production", "1")
    moved = house.registry.by_alias(CHURN, "production")
    assert moved is not None
    assert moved.version == "1"


_REGISTER = """
import sys
from datetime import UTC, datetime
from millrace.core.clock import ManualClock
from pathlib import Path
from millrace.registry.adapters.mlflow import MlflowRegistry
registry = MlflowRegistry(sys.argv[1], ManualClock(datetime(2024, 5, 1, tzinfo=UTC)), Path(sys.argv[2]))
for _ in range(5):
    print(registry.register("shared", sys.argv[2], None, {}).version)
"""


@pytest.mark.slow
def test_two_processes_register_at_once(house: House) -> None:
    url, folder = f"sqlite:///{house.root / 'mlflow.db'}", str(house.root)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _REGISTER, url, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    results = [(process.communicate(timeout=120), process.returncode) for process in started]
    assert [code for _, code in results] == [0, 0], results
    made = sorted(int(line) for (out, _), _ in results for line in out.split())
    assert made == list(range(1, 11))
