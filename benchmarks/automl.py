"""How good AutoML's models are beside FLAML's, AutoGluon's and plain ones, whether it keeps its time, and what its result costs to ask and to keep.

Run by `make bench-automl`. Cuts five tables into training and test rows by each seed (repeated holdout, stratified), and lets each contender search for a minute
on two cores, in turn, each fit in a process of its own whose time is taken from outside, and each answer by another process that loads what the first left on
disk. Makes the peers' environments and keeps each result under .bench/automl/, so that a run that was stopped goes on where it was; what was measured with other
code, other data or other versions is measured anew. Writes its section of docs/benchmarks.md when all is there: about 25 minutes a seed.

`QUICK=1` (`--quick`) tries all with one seed, three small tables and 10 s each, in about four minutes, and writes nothing. `--tell` prints the section of what is there;
What was measured while others used more than half of the machine is measured anew (`--quiet` says another share).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import automl_page
import peers
import processes
import sections
from automl_data import TABLES, Cut, cut, is_there
from automl_ours import PLAIN
from automl_steps import CORES

SEEDS, SECONDS = (1, 2, 3), 60.0
QUICK_TABLES, QUICK_S = ("breast cancer", "digits", "wine"), 10.0
OURS = ("millrace", "millrace-low")
PEERS = {
    "flaml": ("automl-flaml", ("flaml", "lightgbm", "xgboost-cpu", "scikit-learn", "pandas")),
    "autogluon-medium": ("automl-autogluon", ()),
    "autogluon-best": (
        "automl-autogluon",
        ("autogluon.tabular", "lightgbm", "xgboost-cpu", "catboost", "scikit-learn", "pandas"),
    ),
}
SEARCHES = (*OURS, *PEERS)
_HERE = Path(__file__).parent
_FOLDER = peers.FOLDER / "automl"
_LEAST_FREE = 0.5


class _Failed(Exception):
    """A contender gave no result."""


@dataclass(frozen=True)
class Plan:
    """What is run: tables, seeds, and the seconds of a search."""

    tables: Sequence[str]
    seeds: Sequence[int]
    seconds: float
    contenders: Sequence[str]

    def cuts(self) -> Iterator[Cut]:
        """Seed by seed, so that a run that is stopped has something of every table."""
        for seed in self.seeds:
            for name in self.tables:
                yield cut(name, seed, _FOLDER / "data")


def main(plan: Plan, *, is_whole: bool, only_tell: bool, quiet: float) -> None:
    """Run what is missing, and write the page where all was run."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    results: list[dict[str, Any]] = []
    for number, each in enumerate(plan.cuts()):
        # Nobody is always the first.
        turn = number % len(plan.contenders)
        for contender in (*plan.contenders[turn:], *plan.contenders[:turn]):
            found = _result(each, contender, plan.seconds, only_tell=only_tell, quiet=quiet)
            results += [found] if found else []
    versions = [peers.versions(peers.made(place), names) for place, names in PEERS.values() if names]
    page = automl_page.page(results, plan.seconds, versions)
    print(page)
    if is_whole and len(results) == len(plan.contenders) * len(plan.tables) * len(plan.seeds):
        sections.put("automl", page)


def _result(each: Cut, contender: str, seconds: float, *, only_tell: bool, quiet: float) -> dict[str, Any] | None:
    place = _FOLDER / f"{seconds:.0f}s" / f"{each.name}-{each.seed}-{each.print}" / f"{contender}-{_code(contender)}"
    done = place / "result.json"
    if not done.exists() or (not only_tell and json.loads(done.read_text())["busy"] > quiet):
        if only_tell:
            return None
        try:
            _measure(each, contender, seconds, place)
        except _Failed as failure:
            # Not kept: the next run tries again. With too little time for a first model, AutoGluon's best quality fails as a whole.
            print(f"{contender} failed on {each.name}, seed {each.seed}:\n{failure}", flush=True)
            return None
    return json.loads(done.read_text()) | {"answers": str(place / "answers.npy"), "truth": str(each.answers)}


def _measure(each: Cut, contender: str, seconds: float, place: Path) -> None:
    model = place / "model"
    subprocess.run(["rm", "-rf", str(place)], check=True)
    model.mkdir(parents=True)
    busy = processes.busy_share(_LEAST_FREE)
    spent = min(seconds, 1.0) if contender in PLAIN else seconds
    begun = time.perf_counter()
    found = _step(contender, "fit", model, each.train, str(spent), str(each.seed))
    found["wall_s"] = time.perf_counter() - begun
    found |= _step(contender, "answer", model, each.test, str(place / "answers.npy"))
    found |= {"table": each.name, "seed": each.seed, "contender": contender, "busy": busy}
    subprocess.run(["rm", "-rf", str(model)], check=True)
    part = place / "result.part"
    part.write_text(json.dumps(found))
    part.rename(place / "result.json")
    shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in found.items()}
    print(", ".join(f"{key} {value}" for key, value in shown.items()), flush=True)


def _step(contender: str, step: str, model: Path, file: Path, *rest: str) -> dict[str, Any]:
    python, script = sys.executable, "automl_ours.py"
    if contender in PEERS:
        python, script = str(peers.made(PEERS[contender][0]) / "bin" / "python"), "automl_peers.py"
    command = [python, str(_HERE / script), step, contender, str(model), str(file), *rest]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise _Failed(f"ended with {done.returncode}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _code(contender: str) -> str:
    """What a contender's figures depend on: its code, or its versions."""
    files = [_HERE / "automl_steps.py"]
    if contender in PEERS:
        files += [_HERE / "automl_peers.py", peers.ROOT / "requirements" / f"bench-{PEERS[contender][0]}.txt"]
    else:
        files += [_HERE / "automl_ours.py", peers.ROOT / "requirements" / "run.txt"]
    if contender in OURS:
        folder = peers.ROOT / "src" / "millrace" / "automl"
        files += sorted(file for file in folder.rglob("*.py") if not {"notebooks", "engines"} & set(file.parts))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _environment() -> dict[str, str]:
    left_out = {"PYTHONDONTWRITEBYTECODE"}
    return {key: value for key, value in os.environ.items() if key not in left_out} | {"OMP_NUM_THREADS": str(CORES)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--tables", nargs="+", default=tuple(TABLES), choices=TABLES)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--contenders", nargs="+", default=(*SEARCHES, *PLAIN), choices=(*SEARCHES, *PLAIN))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tell", action="store_true")
    parser.add_argument(
        "--quiet", type=float, default=0.5, help="measure anew what was measured while others used a larger share"
    )
    asked = parser.parse_args()
    if asked.quick:
        asked.seeds, asked.tables, asked.seconds = SEEDS[:1], QUICK_TABLES, QUICK_S
    lacking = [name for name in asked.tables if not is_there(name)]
    asked.tables = [name for name in asked.tables if name not in lacking]
    if lacking:
        print(
            f"left out: {', '.join(lacking)}; MILLRACE_CDNOW names the file CDNOW_master.txt. The page is not written."
        )
    whole = not asked.quick and asked.seconds == SECONDS and set(asked.seeds) >= set(SEEDS)
    main(
        Plan(asked.tables, asked.seeds, asked.seconds, asked.contenders),
        is_whole=whole and len(asked.tables) == len(TABLES) and len(asked.contenders) == len(SEARCHES) + len(PLAIN),
        only_tell=asked.tell,
        quiet=asked.quiet,
    )
