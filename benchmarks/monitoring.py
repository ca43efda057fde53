"""How long the counting pass of a monitor takes beside Evidently and NannyML, how much memory, and how exact its distances are.

Run by `make bench-monitoring`. Makes its data and the peers' virtual environments under .bench/, runs each contender in a process of its own, ours
between the peers', and writes its section of docs/benchmarks.md. Nothing else should run on the machine meanwhile; the section says how busy
it was. Takes about six minutes once the data is there. `monitoring.py 100000` tries it with fewer rows and writes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import monitoring_page
import peers
import processes
import sections
from monitoring_data import Data, data

ROWS = 1_000_000
_PEERS = {"evidently": "monitoring-evidently", "nannyml": "monitoring-nannyml", "nannyml-all": "monitoring-nannyml"}
_PACKAGES = {
    "monitoring-evidently": ["evidently", "pandas", "numpy", "scipy"],
    "monitoring-nannyml": ["nannyml", "pandas", "numpy", "scipy"],
}
_LARGE_RUNS = 3
_HERE = Path(__file__).parent


@dataclass
class Runs:
    """What was measured.

    Attributes:
        taken: by contender, each run as it was printed.
        busy: the largest share of the processors that others used when a run began.
    """

    taken: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)
    busy: float = 0.0

    def take(self, name: str, command: list[str]) -> None:
        """Run a contender."""
        self.busy = max(self.busy, processes.busy_share(0.5))
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
        if done.returncode:
            sys.exit(f"{name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        found["process_s"] = time.perf_counter() - begun
        self.taken.setdefault(name, []).append(found)
        print(f"{name}: " + ", ".join(f"{key} {value:,.4g}" for key, value in found.items()), flush=True)


def main(rows: int) -> None:
    """Measure, and write the page where all was measured."""
    begun = time.perf_counter()
    places = {name: peers.made(name) for name in _PACKAGES}
    known = data(peers.FOLDER, rows)
    _warm(known)
    runs = Runs()
    for name, place in (None, None), *((one, places[at]) for one, at in _PEERS.items()):
        if name and place:
            script = str(_HERE / "monitoring_peers.py")
            runs.take(name, [str(place / "bin" / "python"), script, name, known.reference, known.current])
        _ours(runs, known)
    for _ in range(_LARGE_RUNS):
        runs.take("large", _command("count", known, known.large))
    runs.take("exact", _command("exact", known, known.current))
    versions = [peers.versions(places[name], packages) for name, packages in _PACKAGES.items()]
    page = monitoring_page.page(runs.taken, runs.busy, versions)
    print(page)
    print(f"took {time.perf_counter() - begun:.0f} s")
    if rows == ROWS:
        sections.put("monitoring", page)


def _ours(runs: Runs, known: Data) -> None:
    runs.take("reference", _command("reference", known, known.reference))
    for _ in range(2):
        runs.take("count", _command("count", known, known.current))


def _command(what: str, known: Data, file: str) -> list[str]:
    reference = Path(known.reference).with_suffix(".json")
    return [sys.executable, str(_HERE / "monitoring_ours.py"), what, str(reference), file]


def _warm(known: Data) -> None:
    """Read all files once, so that nobody is the first to fetch them from disk."""
    for path in (known.reference, known.current, known.large):
        with Path(path).open("rb") as file:
            while file.read(1 << 24):
                pass


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
