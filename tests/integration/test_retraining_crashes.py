"""A retraining that is killed anywhere between detection and promotion, and run again, ends as one that was not killed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.changed_shop import picture, prepare
from tests.integration.crashing_run import CrashingRun, apart

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(900),  # twenty seconds a test where nothing else runs
    # MLflow's own, while models are logged and read in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SECRET = "whsec_" + "c2VjcmV0" * 4  # signs what is posted to the receiver


@dataclass
class Receiver:
    """What was posted, by its idempotency key."""

    keys: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            found.keys.append(str(self.headers["webhook-id"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"webhook+http://{SECRET}@127.0.0.1:{server.server_port}/alerts"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Shop:
    """A home that is put back to where it was prepared, time and again, at the same place: MLflow keeps absolute paths."""

    root: Path
    receiver: Receiver

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def page(self) -> Path:
        return self.root / "pipeline.py"

    def start_over(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.root / "prepared", self.home)
        self.receiver.keys.clear()

    def run(self) -> CrashingRun:
        """To its end."""
        done = CrashingRun(self.page, self.home)
        assert done.end() == 0, done.said()
        return done

    def picture(self) -> dict[str, Any]:
        """What a run left: the home, and what was told."""
        left: dict[str, Any] = apart(picture, self.home, self.page)
        return left | {"told": sorted(set(self.receiver.keys))}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Shop:
    made = Shop(tmp_path_factory.mktemp("shop"), receiver)
    apart(prepare, made.home, made.page, receiver.url)
    made.home.rename(made.root / "prepared")
    return made


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed: its stages, how many commits it took, and what it left."""

    run: CrashingRun
    picture: dict[str, Any]


@pytest.fixture(scope="module")
def whole(shop: Shop) -> Whole:
    shop.start_over()
    return Whole(shop.run(), shop.picture())


def test_what_one_that_is_not_killed_leaves(whole: Whole) -> None:
    left = whole.picture
    assert left["runs"] == [
        ("dummy", "", "FINISHED", 1),
        ("dummy", "episode 1", "FINISHED", 1),
        ("linear", "", "FINISHED", 1),
        ("linear", "episode 1", "FINISHED", 1),
    ]
    assert [(version, aliases) for version, aliases, _ in left["versions"]] == [
        ("1", ("previous",)),
        ("2", ("production", "staging")),
    ]
    moves = [(version, alias, replaced) for version, alias, replaced, *_ in left["promotions"]]
    assert moves[2:] == [("2", "staging", "1"), ("2", "production", "1")]
    assert left["deployed"] == {"shop": "2", "shop-staging": "2"}
    assert left["attempts"] == [("episode 1", "promoted")]
    assert {status for _, _, status, _, _ in left["episodes"]} == {"resolved"}
    assert [kind for _, kind, *_ in left["episodes"]] == ["performance", "drift"]
    assert sorted(key.split("/")[0] for key in left["told"]) == ["opened"] * 2 + ["resolved"] * 2
    assert (left["left to do"], left["decision"]) == ([], ("calm", "no open episode for v2"))


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_five_moments_there_is_one_retraining(shop: Shop, whole: Whole, seed: int) -> None:
    chance, killed = np.random.default_rng(seed), 0
    for point in range(5):
        stage = (seed + 4 * point) % len(whole.run.stages)
        killed += _killed_in_stage(shop, whole, stage, float(chance.random()))
        shop.run()
        assert shop.picture() == whole.picture, f"killed in stage {stage}"
    assert killed >= 4


def _killed_in_stage(shop: Shop, whole: Whole, stage: int, share: float) -> bool:
    """Kill a run some time after it has told of so many stages, sooner where it has ended before; whether it could be."""
    ends = [0.0, *(each.at_s for each in whole.run.stages)]
    for halved in range(5):
        shop.start_over()
        run = CrashingRun(shop.page, shop.home)
        run.wait_for(stage)
        time.sleep(share * (ends[stage + 1] - ends[stage]) / 2**halved)
        if run.kill():
            return True
    return False


@pytest.mark.parametrize("seed", range(2))
def test_killed_right_after_a_commit_there_is_one_retraining(shop: Shop, whole: Whole, seed: int) -> None:
    chance, commits = np.random.default_rng(seed), whole.run.commits
    for after in chance.integers(1, commits, 5).tolist():
        shop.start_over()
        run = CrashingRun(shop.page, shop.home, dies_after=after)
        assert run.end() == -9, run.said()
        shop.run()
        assert shop.picture() == whole.picture, f"killed after commit {after} of {commits}"
