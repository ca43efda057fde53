"""How fast one model is served by millrace with everything on, beside MLflow, MLServer, BentoML, Ray Serve and Feast.

Run by `make bench-serving`. Makes the peers' virtual environments under .bench/, serves the same XGBoost file with each,
one server alive at a time, the server on one core and the load on another, round by round, and writes its section of
docs/benchmarks.md. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import peers
import sections
import serving_contenders
import serving_load
import serving_model
import serving_page
from filelock import FileLock, Timeout
from serving_contenders import OURS, Contender, Make
from serving_load import Failed, Start
from serving_model import Served
from serving_questions import BODIES

_TRIES = 2


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        rounds: how often each server is started.
        seconds: of load, for each question and number of connections; whole ones.
        names: of the contenders, lower case; empty for all.
    """

    rounds: int
    seconds: int
    names: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the page is written."""
        return self.rounds >= 5 and not self.names  # noqa: PLR2004 - a median of fewer is luck


def main(options: Options) -> None:
    """Measure, print, and write the page where all was measured."""
    begun = time.perf_counter()
    server_core, load_core = _cores()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing, which makes the load\n  hint: as root, apt-get install wrk")
    with _folder() as folder:
        served = serving_model.make(folder, max(rows * bodies for rows, bodies in BODIES.items()))
        found = Found()
        found.make(served, folder, _chosen(options.names))
        print(f"-- the model is trained and registered, {time.perf_counter() - begun:.0f} s", flush=True)
        os.sched_setaffinity(0, {load_core})
        for number in range(options.rounds):
            found.measure(number, server_core, folder, options.seconds)
            print(f"-- round {number + 1} of {options.rounds} done, {time.perf_counter() - begun:.0f} s", flush=True)
    page = serving_page.page(found.contenders, found.starts, options.seconds, found.missing)
    print(page)
    print(f"took {time.perf_counter() - begun:.0f} s")
    if options.is_whole:
        sections.put("serving", page)


@dataclass
class Found:
    """What was measured.

    Attributes:
        contenders: who takes part.
        starts: by contender's name, each start of it.
        missing: what could not be measured, and why.
    """

    contenders: list[Contender] = field(default_factory=list)
    starts: dict[str, list[Start]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def make(self, served: Served, folder: Path, makes: Sequence[Make]) -> None:
        """Set everybody up; a peer that can't be installed does not take part."""
        for make in makes:
            try:
                self.contenders.append(make(served, folder))
            except subprocess.CalledProcessError as error:
                self._drop(make.__name__, f"{error.cmd[0]} ended with {error.returncode}")

    def measure(self, number: int, core: int, folder: Path, seconds: int) -> None:
        """One round; a peer that fails is started once more, and then takes no further part: what it did before counts."""
        for contender in [one for one in self.contenders if number < one.rounds and one.name not in self.missing]:
            start = self._start(contender, core, folder, seconds)
            if start is not None:
                self.starts.setdefault(contender.name, []).append(start)
                _tell(contender, start)

    def _start(self, contender: Contender, core: int, folder: Path, seconds: int) -> Start | None:
        for _ in range(_TRIES):
            try:
                return serving_load.measure(contender, core, folder, seconds)
            except Failed as error:
                why = str(error)
                print(f"{contender.name}: {why}", flush=True)
        self._drop(contender.name, why)
        if contender.name not in self.starts:
            self.contenders.remove(contender)
        return None

    def _drop(self, name: str, why: str) -> None:
        if name in OURS:
            sys.exit(f"{name}: {why}")
        print(f"{name} is left out: {why}", flush=True)
        self.missing[name] = why.splitlines()[0]


@contextmanager
def _folder() -> Iterator[Path]:
    """An empty folder for all that is made; what a killed run left there is removed."""
    peers.FOLDER.mkdir(exist_ok=True)
    folder = peers.FOLDER / "serving"
    try:
        with FileLock(peers.FOLDER / "serving.lock", timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            yield folder
            shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        sys.exit("this benchmark runs already, in another process")


def _chosen(names: Sequence[str]) -> list[Make]:
    known = {make.__name__: make for make in serving_contenders.ALL}
    missing = set(names) - known.keys()
    if missing:
        sys.exit(f"there is no contender {', '.join(sorted(missing))}\n  hint: choose from {', '.join(known)}")
    return [make for name, make in known.items() if not names or name in names]


def _cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        sys.exit("there is one core, and the load needs one beside the server's")
    return cores[0], cores[-1]


def _tell(contender: Contender, start: Start) -> None:
    for (name, connections), load in start.loads.items():
        if connections == serving_load.CONNECTIONS[-1]:
            print(
                f"{contender.name}, {name}: {load.rps:,.0f} requests/s at {connections} connections, p50 {load.p50_ms:.2f} ms, "
                f"p99 {load.p99_ms:.2f} ms, {load.cpu_ms:.3f} ms of processor, {load.errors} errors",
                flush=True,
            )
    print(
        f"{contender.name}: up in {start.cold_s:.2f} s, {start.memory.pss:,.0f} MB, at rest {start.rest.pss:,.0f}",
        flush=True,
    )


def _options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="serving.py")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of load, for each question and number of connections")
    parser.add_argument("--quick", action="store_true", help="one round of one second; writes no page")
    parser.add_argument("names", nargs="*", help="measure these only; writes no page")
    given = parser.parse_args(arguments)
    if given.quick:
        return Options(1, 1, tuple(given.names))
    return Options(given.rounds, given.seconds, tuple(given.names))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(_options(sys.argv[1:]))
