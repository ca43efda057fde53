"""Versions from home to home: whole, once, with their lineage, whatever is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

from millrace.ci.approval import Consent, approvals, approve
from millrace.ci.project import find_project
from millrace.ci.promotion.bundle import MODEL as MODEL_FILES
from millrace.ci.promotion.bundle import hashes, read_bundle
from millrace.ci.promotion.destinations import open_destination
from millrace.ci.promotion.endpoint import deploy_to_endpoint
from millrace.ci.promotion.pack import origin_of, pack
from millrace.ci.promotion.promote import HomeDestination, find_version, promote_version
from millrace.ci.promotion.receive import missing
from millrace.ci.types import StageResult
from millrace.core.errors import Conflict, InvalidInput, InvalidState, NotFound, UsageError
from millrace.registry.types import VersionEntry
from millrace.targets.port import DeploymentTarget
from millrace.targets.types import Answers
from millrace.tracking.types import RunId
from millrace.training.models import feature_spec_of
from millrace.workspace import Workspace, open_target, open_workspace
from tests.integration.durable_target import DurableTarget
from tests.integration.promoted_homes import MODEL, NOW, TABLE, Homes, fill_features, log_version, make_homes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
ADA = Consent(approve_as="ada", reason="looked at it")


@dataclass
class Scene:
    homes: Homes
    dev: Workspace
    prod: Workspace

    def promote(self, version: str = MODEL, consent: Consent = ADA, *, deploy: bool = False) -> StageResult:
        project = find_project(self.homes.folder)
        place, to = project.targets
        entry = find_version(self.dev, version)
        with open_destination(place, to, self.dev, entry) as destination:
            return promote_version(self.dev, entry, place, to, destination, consent=consent, deploy=deploy)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return make_homes(tmp_path_factory.mktemp("promotion"))


@pytest.fixture
def scene(made: Homes) -> Iterator[Scene]:
    dev, prod = made.open("dev"), made.open("prod")
    yield Scene(made, dev, prod)
    dev.close()
    prod.close()


def versions(workspace: Workspace) -> list[VersionEntry]:
    return list(workspace.registry.versions(MODEL))


def test_a_story_of_promotions(scene: Scene) -> None:
    """One after the other in the same homes, because homes are costly to make."""
    refused = scene.promote(consent=Consent())
    assert (refused.status, refused.exit_code, versions(scene.prod)) == ("refused", 3, [])
    assert "nobody has approved ml.models.shop v1 for target prod" in refused.summary
    assert "`millrace approve ml.models.shop 1 --from dev --to prod --reason TEXT`" in refused.hint
    with pytest.raises(UsageError, match="--yes is not"):
        scene.promote(consent=Consent(yes=True))
    with pytest.raises(UsageError, match="a name and a reason"):
        scene.promote(consent=Consent(approve_as="ada"))
    first = scene.promote()
    assert (first.status, first.exit_code) == ("passed", 0)
    _same_model_with_its_lineage(scene)
    again = scene.promote(consent=Consent())  # it was approved
    assert (again.status, len(versions(scene.prod)), len(scene.prod.promotions.read())) == ("passed", 1, 1)
    _a_second_version_replaces_it(scene)


def _same_model_with_its_lineage(scene: Scene) -> None:
    (here,), (there,) = versions(scene.dev), versions(scene.prod)
    one, other = (
        home.registry.download(MODEL, each.version) for home, each in ((scene.dev, here), (scene.prod, there))
    )
    files = {path.relative_to(one): path.read_bytes() for path in one.rglob("*") if path.is_file()}
    assert files == {path.relative_to(other): path.read_bytes() for path in other.rglob("*") if path.is_file()}
    assert len(files) >= 4
    assert feature_spec_of(one) == feature_spec_of(other)
    run, copied = scene.dev.tracking.get(RunId(str(here.run_id))), scene.prod.tracking.get(RunId(str(there.run_id)))
    assert (copied.params, copied.metrics, copied.name, copied.status) == (
        run.params,
        run.metrics,
        run.name,
        "FINISHED",
    )
    for text in ("training_record.json", "reference_profile.json", "verdict.json"):
        kept = scene.dev.tracking.read_text(RunId(str(here.run_id)), text)
        assert scene.prod.tracking.read_text(RunId(str(there.run_id)), text) == kept
    (step,) = origin_of(there)
    assert (step.place, step.version, step.run_id) == ("dev", "1", here.run_id)
    assert there.tags["millrace.commit.abc"] == "2025-06-02"
    (move,) = scene.prod.promotions.read()
    assert (move.version, move.alias, move.replaced) == ("1", "production", None)
    assert move.why == "promoted from dev; approved by ada: looked at it"
    assert move.verdict["approval"] == {**move.verdict["approval"], "by": "ada", "reason": "looked at it"}  # type: ignore[dict-item]
    assert move.verdict["run_id"] == there.run_id


def _a_second_version_replaces_it(scene: Scene) -> None:
    log_version(scene.dev, threshold=9.0)
    project = find_project(scene.homes.folder)
    entry = find_version(scene.dev, f"{MODEL}/2")
    asked: list[str] = []
    assert scene.promote(f"{MODEL}/2", Consent(ask=asked.append)).exit_code == 3
    assert asked == ["Approve ml.models.shop v2 for prod? Say why, or nothing to stop"]
    approve(scene.dev, entry, project.targets[1], "bob", "the first is old")
    approve(scene.dev, entry, project.targets[1], "bob", "said twice")
    assert [each.reason for each in approvals(scene.dev, entry, project.targets[1])] == ["the first is old"]
    assert scene.promote(f"{MODEL}/2", Consent()).status == "passed"
    aliases = {entry.version: entry.aliases for entry in versions(scene.prod)}
    assert aliases == {"1": ("previous",), "2": ("production",)}
    refused = log_version(scene.dev, passed=False, threshold=4.0)
    result = scene.promote(f"{MODEL}/{refused.version}")
    assert (result.status, result.exit_code, result.reasons) == ("refused", 3, ("roc_auc 0.9",))
    assert len(versions(scene.prod)) == 2


def test_what_is_named_and_is_not_there(scene: Scene) -> None:
    with pytest.raises(NotFound, match=r"no model 'ml\.models\.shp'") as unknown:
        find_version(scene.dev, "ml.models.shp")
    assert unknown.value.hint == "did you mean 'ml.models.shop'?"
    with pytest.raises(NotFound, match="no alias 'stagin'"):
        find_version(scene.dev, f"{MODEL}@stagin")
    with pytest.raises(NotFound, match="no version 99"):
        find_version(scene.dev, f"{MODEL}/99")
    with pytest.raises(InvalidInput, match="names no version"):
        find_version(scene.dev, f"{MODEL}/1@staging")


def test_what_is_missing_at_the_other_place_is_listed(scene: Scene, tmp_path: Path) -> None:
    bundle = pack(scene.dev, find_version(scene.dev, f"{MODEL}/1"), "dev", tmp_path / "bundle")
    empty = open_workspace(tmp_path / "empty")
    assert missing(empty, bundle) == [f"there is no table {TABLE}"]
    empty.clock.set(NOW)
    fill_features(empty, pa.int64())
    assert missing(empty, bundle) == [f"{TABLE}.spend is int64, not double"]
    empty.close()
    assert missing(scene.prod, bundle) == []


def test_a_bundle_whose_files_were_changed_is_not_received(scene: Scene, tmp_path: Path) -> None:
    made = pack(scene.dev, find_version(scene.dev, f"{MODEL}/1"), "dev", tmp_path / "b")
    assert read_bundle(tmp_path / "b") == made
    file = tmp_path / "b" / MODEL_FILES / "MLmodel"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(InvalidInput, match="differ from those that were packed"):
        read_bundle(tmp_path / "b")
    (tmp_path / "b" / MODEL_FILES / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="is a link"):
        hashes(tmp_path / "b" / MODEL_FILES)
    (tmp_path / "b" / "bundle.json").write_text("{}")
    with pytest.raises(InvalidInput, match="not a packed version"):
        read_bundle(tmp_path / "b")


class Killed(BaseException):
    """The end of a process, as far as the code can see."""


@pytest.mark.long
def test_it_is_completed_after_an_end_between_any_two_writes(tmp_path: Path) -> None:
    homes = make_homes(tmp_path)
    ended = 0
    while not _promoted_unless_ended(homes, before=ended + 1):
        ended += 1
        assert ended < 40
    assert ended > 5
    prod = homes.open("prod")
    (entry,) = versions(prod)
    assert entry.aliases == ("production",)
    assert len(prod.promotions.read()) == 1
    assert len(prod.tracking.list("shop")) == 1
    assert [event.data["version"] for event in prod.events.read(kind="alias.moved")] == ["1"]
    prod.close()


_WRITES = ("start", "log", "add_files", "add_model", "finish", "register", "set_alias", "append")


def _promoted_unless_ended(homes: Homes, before: int) -> bool:
    """Promote, but end before a write of that number; whether there was none."""
    dev, prod = homes.open("dev"), homes.open("prod")
    count = iter(range(1, 1000))
    for part in ("tracking", "registry", "promotions"):
        for name in _WRITES:
            _end_before(getattr(prod, part), name, lambda: next(count) == before)
    place, to = find_project(homes.folder).targets
    destination = HomeDestination(prod, lambda: open_target(prod))
    try:
        promote_version(dev, find_version(dev, MODEL), place, to, destination, consent=ADA, deploy=False)
    except Killed:
        return False
    finally:
        dev.close()
        prod.close()
    return True


def _end_before(part: Any, name: str, ends: Callable[[], bool]) -> None:
    method = getattr(part, name, None)
    if method is None:
        return

    def killed(*arguments: Any, **named: Any) -> Any:
        if ends():
            raise Killed
        return method(*arguments, **named)

    setattr(part, name, killed)


@pytest.mark.long
def test_a_process_that_is_killed_leaves_what_the_next_completes(tmp_path: Path) -> None:
    homes = make_homes(tmp_path)
    command = [sys.executable, "-m", "millrace.cli.main", "promote", MODEL, "--to", "prod", "--no-deploy", "--json"]
    command += ["--approve-as", "ada", "--reason", "r", "--project", str(tmp_path)]
    for sign in ("prod/mlartifacts", "prod/mlartifacts/*/*/artifacts", "prod/mlartifacts/*/models/*/artifacts/MLmodel"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(tmp_path.glob(sign)):
            pass_time(process)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["facts"]["version_there"] == "1"
    prod = homes.open("prod")
    (entry,) = versions(prod)
    assert entry.aliases == ("production",)
    assert len(prod.promotions.read()) == 1
    prod.close()


def pass_time(process: subprocess.Popen[bytes]) -> None:
    """A moment, or the end of the process."""
    try:
        process.wait(0.02)
    except subprocess.TimeoutExpired:
        return


def test_one_database_under_two_names_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATABASE_URL", "sqlite:////nowhere.db")
    with pytest.raises(UsageError, match="targets dev and prod would be one"):
        scene.promote()


class Wrong(DurableTarget):
    """Answers with chances that are a little off."""

    def query(self, endpoint: str, records: Sequence[Mapping[str, object]]) -> Answers:
        told = super().query(endpoint, records)
        assert told.probabilities is not None
        return replace(told, probabilities=tuple(each + 0.01 for each in told.probabilities))


def test_a_version_that_answers_wrongly_leaves_its_endpoint_again(tmp_path: Path) -> None:
    homes = make_homes(tmp_path)
    dev, prod = homes.open("dev"), homes.open("prod")
    good, wrong = DurableTarget(prod), Wrong(prod)
    place, to = find_project(homes.folder).targets

    def promote(version: str, target: DurableTarget) -> StageResult:
        destination = HomeDestination(prod, lambda: nullcontext(cast("DeploymentTarget", target)))
        return promote_version(dev, find_version(dev, f"{MODEL}/{version}"), place, to, destination, consent=ADA)

    first = promote("1", wrong)
    assert (first.status, good.deployed()) == ("refused", {})
    assert promote("1", good).status == "passed"
    log_version(dev, threshold=9.0)
    second = promote("2", wrong)
    assert (second.status, good.deployed()) == ("refused", {"shop": "1"})
    assert second.checks[-1].detail == "shop serves v1, which production names"
    assert {entry.version: entry.aliases for entry in versions(prod)} == {"1": ("production",), "2": ()}
    dev.close()
    prod.close()


def test_a_run_of_the_pipeline_there_is_waited_for(scene: Scene) -> None:
    assert scene.prod.leases.acquire("pipeline/shop", "elsewhere:1:x", 600)
    try:
        with pytest.raises(Conflict, match="being run by another process"):
            scene.promote(f"{MODEL}/1")
    finally:
        scene.prod.leases.release("pipeline/shop", "elsewhere:1:x")


def test_nobody_judged_it(scene: Scene) -> None:
    entry = find_version(scene.dev, f"{MODEL}/1")
    logged = scene.dev.registry.register(MODEL, entry.source, None, entry.tags)
    scene.dev.tracking.log_text(RunId(str(logged.run_id)), "broken", "verdict.json")
    try:
        with pytest.raises(InvalidState, match="was not judged yet"):
            scene.promote(f"{MODEL}/{logged.version}")
        served = DurableTarget(scene.dev)
        project, where = find_project(scene.homes.folder), lambda: nullcontext(cast("DeploymentTarget", served))
        with pytest.raises(InvalidState, match="was not judged yet"):
            deploy_to_endpoint(scene.dev, logged, project, project.targets[0], "shop", where, ADA)
        assert served.deployed() == {}
    finally:
        kept = {"winner": "linear", "passed": True, "results": [], "metrics": {}}
        scene.dev.tracking.log_text(RunId(str(logged.run_id)), json.dumps(kept), "verdict.json")
