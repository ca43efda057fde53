"""Models whose packages differ: an environment and a process for each, and what happens when they die."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test
import pytest
from sklearn.linear_model import LogisticRegression  # noqa: TID253 - a test

from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.processes import is_alive
from millrace.serving.inputs import Inputs
from millrace.serving.models.example import check_example
from millrace.serving.models.processes import environments
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.processes.needs import needs_of
from millrace.serving.models.processes.open import make_environments, open_predictor
from millrace.serving.models.processes.predictor import ProcessPredictor
from millrace.serving.models.turns import Raised, TooSlow, Unavailable
from millrace.serving.types import LoadPlan, ServedEntity
from tests.integration.priced_model import (
    BROKEN,
    HANGS,
    KILLS,
    REFUSED,
    kill,
    write_classifier,
    write_priced,
    write_wheels,
)
from tests.unit.serving.lanes import Scene, Visitor, answered

pytestmark = [pytest.mark.slow, pytest.mark.long]

OWNER = Path(__file__).with_name("process_owner.py")
SIGNATURE = (("amount", "double"),)


@dataclass(frozen=True)
class World:
    """A home, and the only place that packages come from."""

    home: Path
    wheels: Path
    environments: Environments

    def plan(self, version: str, **settings: object) -> LoadPlan:
        folder = self.home / f"model-{version}"
        if not folder.exists():
            write_priced(folder, version)
        return LoadPlan(
            ServedEntity(f"prices-{version}", "prices", version, settings),
            str(folder),
            "python_function",
            SIGNATURE,
            None,
        )

    def open(self, version: str, answer_s: float = 30.0) -> ProcessPredictor:
        make_environments([self.plan(version)], self.environments)
        found = open_predictor(self.plan(version), self.environments, answer_s)
        assert isinstance(found, ProcessPredictor)
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("processes")
    wheels = write_wheels(root / "wheels")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(wheels)}.items():
            patch.setenv(f"UV_{name}", value)
            patch.setenv(f"PIP_{name}", value)
        patch.setenv("UV_OFFLINE", "1")
        patch.setenv("UV_CACHE_DIR", str(root / "cache"))
        patch.setenv("MILLRACE_SECRET", "hidden")
        yield World(root, wheels, Environments.of(root / "home"))


@pytest.fixture(scope="module")
def prices(world: World) -> ProcessPredictor:
    return world.open("1.0")


def ask(model: ProcessPredictor, *amounts: float) -> list[object]:
    return list(model.predict(Inputs(np.array([[amount] for amount in amounts]))).labels)


def until(condition: object, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_each_model_answers_with_its_own_packages(world: World, prices: ProcessPredictor) -> None:
    assert (prices.path, prices.why) == ("process", "it needs pricing==1.0 (not installed)")
    two = world.open("2.0")
    assert ask(prices, 1.5, 7) == [15, 70]
    assert ask(two, 1.5, 7) == [30, 140]
    assert prices.pid != two.pid
    assert two.pid is not None
    said = Path(f"/proc/{two.pid}/environ").read_text()
    assert "MILLRACE_SECRET" not in said
    # A process ends with the last who holds its model.
    pid = two.pid
    del two
    assert not is_alive(pid)


def test_a_process_that_dies_is_replaced(prices: ProcessPredictor) -> None:
    pid = prices.pid
    assert pid is not None
    kill(pid)
    until(lambda: not is_alive(pid))
    assert ask(prices, 2) == [20]
    assert prices.pid not in {None, pid}


def test_what_a_model_refuses_or_breaks_on_is_told_apart(world: World, prices: ProcessPredictor) -> None:
    pid = prices.pid
    with pytest.raises(InvalidInput, match="can't predict from these values"):
        ask(prices, 1, REFUSED)
    with pytest.raises(Raised, match="ZeroDivisionError"):
        ask(prices, BROKEN)
    assert prices.pid == pid
    (log,) = [
        path.read_text() for path in (world.home / "home" / "logs").glob("model-*.log") if "ZeroDiv" in path.read_text()
    ]
    assert "in predict" in log
    assert str([1.0, REFUSED]) not in log  # what the model said may quote the request
    # Rows that kill it are tried once more, and leave a model that answers others.
    with pytest.raises(Unavailable, match="died twice"):
        ask(prices, KILLS)
    assert ask(prices, 3) == [30]


@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifier_there_gives_and_keeps_its_probabilities(world: World, tmp_path: Path, classes: int) -> None:
    x = np.random.default_rng(classes).normal(size=300)
    model = LogisticRegression().fit(pd.DataFrame({"x": x}), np.digitize(x, [-0.5, 0.5][: classes - 1]))
    folder = write_classifier(tmp_path / "model", model, "x", "1.0")
    plan = replace(world.plan("1.0"), path=str(folder), inputs=(("x", "double"),))
    make_environments([plan], world.environments)
    there: Any = open_predictor(plan, world.environments, 30.0)
    rows = [-2.0, -0.25, 0.125, 3.0]
    assert there.path == "process"
    (tmp_path / "scene").mkdir()
    with closing(Scene(tmp_path / "scene")) as scene:
        scene.serve("classes", there)
        visitor = Visitor()

        async def ask() -> None:
            scene.ask("classes", *rows, visitor=visitor, query=b"predict_proba=true")
            await answered(visitor)

        asyncio.run(ask())
        (record,) = scene.records()
    own = pd.DataFrame({"x": rows})
    scores = model.predict_proba(own)
    expected = scores[:, 1].tolist() if classes == 2 else scores.tolist()
    assert (visitor.status, visitor.content["probabilities"]) == (200, expected)
    assert visitor.content["predictions"] == list(record.labels) == model.predict(own).tolist()
    assert record.probabilities == expected


def test_a_process_that_hangs_is_ended_in_time(world: World) -> None:
    model = world.open("1.0", answer_s=1.0)
    pid = model.pid
    assert pid is not None
    with pytest.raises(TooSlow):  # long before it would answer
        ask(model, HANGS)
    assert not is_alive(pid)


def test_no_process_outlives_its_owner(world: World) -> None:
    command = [sys.executable, str(OWNER), str(world.home / "home"), world.plan("1.0").path, str(HANGS)]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert is_alive(pid)
    finally:
        owner.kill()  # while the model is busy
        owner.communicate()
    until(lambda: not is_alive(pid))


def test_an_environment_is_made_once_and_by_one(world: World) -> None:
    place = Environments.of(world.home / "other")
    needs = needs_of(Path(world.plan("2.0").path))
    assert needs is not None
    found: list[Path] = []
    with pytest.raises(InvalidState, match="is not there"):
        place.python(needs)

    def make() -> None:
        place.make(needs)
        found.append(place.python(needs))

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    log = (world.home / "other" / "logs" / "environments.log").read_text()
    assert log.count("+ pricing==2.0") == 1
    # Nothing of how it was made is left, and it goes on working where its package's source is gone.
    assert {path.suffix for path in (world.home / "other" / "envs").iterdir()} <= {"", ".lock"}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UV_FIND_LINKS")
        place.make(needs)


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_both_installers_make_the_same_thing(world: World, installer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if installer == "pip":
        monkeypatch.setattr(environments, "_uv", lambda: None)
    needs = needs_of(Path(world.plan("2.0").path))
    assert needs is not None
    place = Environments.of(world.home / installer)
    place.make(needs)
    python = place.python(needs)
    code = "import pricing, numpy, sys; print(pricing.FACTOR, numpy.__version__, sys.version_info[:2])"
    said = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["20", np.__version__, *str(sys.version_info[:2]).split()]


def test_packages_that_cannot_be_had_are_said_and_nothing_is_left(world: World) -> None:
    plan = world.plan("9.9")
    with pytest.raises(InvalidState, match=r"could not be installed: pricing==9.9 \(not installed\)") as raised:
        make_environments([plan], world.environments)
    assert "logs/environments.log" in raised.value.hint
    assert str(world.home) not in raised.value.hint
    assert "own_packages" in raised.value.hint
    assert "9.9" in (world.home / "home" / "logs" / "environments.log").read_text()
    with pytest.raises(InvalidState, match="is not there"):
        open_predictor(plan, world.environments, 1.0)


def test_a_python_that_cannot_be_had_is_said(world: World) -> None:
    plan = replace(world.plan("1.0"), path=str(write_priced(world.home / "old", "1.0", python="3.7.1")))
    with pytest.raises(InvalidState, match=r"could not be installed: Python 3.7 \(3.\d+ is here\)"):
        make_environments([plan], world.environments)


def test_a_model_that_cannot_predict_its_own_example_is_told_by_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for amount, fails in ((BROKEN, True), (5.0, False)):
        folder = write_priced(world.home / f"example{amount}", "1.0", example=amount)
        plan = replace(world.plan("1.0"), path=str(folder))
        model = open_predictor(plan, world.environments, 30.0)
        assert model.path == "process"
        if fails:
            with pytest.raises(InvalidInput, match=r"its own example: the model raised ZeroDivisionError") as raised:
                check_example(model, plan, 30.0)
            assert str(world.home) not in str(raised.value)
            assert re.search(r"raised ZeroDivisionError; .*\.log has the trace", caplog.text)
        else:
            check_example(model, plan, 30.0)


def test_a_model_that_hangs_over_its_own_example_is_ended(world: World) -> None:
    plan = replace(world.plan("1.0"), path=str(write_priced(world.home / "hanging", "1.0", example=HANGS)))
    model = open_predictor(plan, world.environments, 0.5)
    assert isinstance(model, ProcessPredictor)
    pid = model.pid
    assert pid is not None
    with pytest.raises(InvalidInput, match="its own example: it does not answer in time"):
        check_example(model, plan, 0.5)
    until(lambda: model.pid is None and not is_alive(pid))


@pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's own
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_model_can_be_told_to_run_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(world.wheels / "pricing-2.0-py3-none-any.whl")
    plan = world.plan("1.0", own_packages=False)
    make_environments([plan], Environments.of(world.home / "unused"))
    assert not (world.home / "unused").exists()
    model = open_predictor(plan, world.environments, 1.0)
    assert model.path == "pyfunc"
    assert list(model.predict(Inputs(np.array([[3.0]]))).labels) == [60]


def test_a_damaged_environment_is_made_anew(world: World) -> None:
    place = Environments.of(world.home / "damaged")
    needs = needs_of(Path(world.plan("1.0").path))
    assert needs is not None
    place.make(needs)
    python = place.python(needs)
    shutil.rmtree(python.parent)
    python.parent.mkdir()
    place.make(needs)
    assert place.python(needs) == python
