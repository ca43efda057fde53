"""How long a training set takes beside DuckDB's own as-of join and beside Feast, how it grows, and that memory stays small.

Run by `make bench-features`. Makes its data and the peer's virtual environment under .bench/, runs each contender in a
process of its own, in turn, checks that all give the same answer, and writes its section of docs/benchmarks.md.
Nothing else should run on the machine meanwhile. `features.py 1` stops after the smallest size and writes nothing.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import features_page
import peers
import sections
from features_data import Data, data
from peers import FOLDER

PEER = FOLDER / "feast"
_PEER_PACKAGES = ["feast", "duckdb", "ibis-framework", "dask", "pandas", "pyarrow"]
LIMIT_MB = 4096
_SMALL, _LARGE, _HUGE = 1_000_000, 10_000_000, 30_000_000
_ROUNDS = {_SMALL: 3, _LARGE: 2, _HUGE: 2}
_CLOSE = 1e-9  # sums of a million numbers in another order


@dataclass
class Runs:
    """What was measured, and what was found to be different.

    Attributes:
        taken: per contender and rows of a table, each run as it was printed.
        differences: a sentence for each contender whose answer is not millrace's.
    """

    taken: dict[tuple[str, int], list[dict[str, object]]] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)


def main(sizes: Sequence[int]) -> None:
    """Measure, and write the page where all was measured."""
    begun = time.perf_counter()
    peers.made("feast")
    runs = Runs()
    if 1 in sizes:
        _compare(runs, data(FOLDER, _SMALL), ["millrace", "duckdb", "feast-duckdb", "feast-dask"])
        runs.taken["small", _SMALL] = [_run("small", data(FOLDER, _SMALL))]
    if 10 in sizes:  # noqa: PLR2004 - millions
        _compare(runs, data(FOLDER, _LARGE), ["millrace", "duckdb", "feast-duckdb"])
    if 30 in sizes:  # noqa: PLR2004 - millions
        _compare(runs, data(FOLDER, _HUGE), ["millrace"])
        runs.taken["limited", _HUGE] = [_run("millrace", data(FOLDER, _HUGE), LIMIT_MB)]
        _check(runs, "limited", _HUGE)
    page = features_page.page(runs.taken, runs.differences, peers.versions(PEER, _PEER_PACKAGES))
    print(page)
    print(f"took {time.perf_counter() - begun:.0f} s")
    if set(sizes) == {1, 10, 30}:
        sections.put("features", page)


def _compare(runs: Runs, known: Data, names: Sequence[str]) -> None:
    _warm(known)
    for number in range(_ROUNDS[known.rows]):
        for name in names:
            runs.taken.setdefault((name, known.rows), []).append(_run(name, known))
        print(f"-- round {number + 1} of {_ROUNDS[known.rows]} at {known.rows // 1_000_000}M done", flush=True)
    for name in names[1:]:
        _check(runs, name, known.rows)


def _warm(known: Data) -> None:
    """Read all files once, so that nobody is the first to fetch them from disk."""
    for path in (known.labels, *(path for files in known.files for path in files)):
        with Path(path).open("rb") as file:
            while file.read(1 << 24):
                pass


def _run(name: str, known: Data, memory_mb: int | None = None) -> dict[str, object]:
    here = Path(__file__).parent
    file = str(Path(known.home).parent / "data.json")
    if name.startswith("feast-"):
        store = name.removeprefix("feast-")
        folder = FOLDER / f"feast-{store}-{known.rows}"
        shutil.rmtree(folder, ignore_errors=True)
        command = [str(PEER / "bin" / "python"), str(here / "features_feast.py"), store, file, str(folder)]
    else:
        limit = [] if memory_mb is None else [str(memory_mb)]
        command = [sys.executable, str(here / "features_contenders.py"), name, file, *limit]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        sys.exit(f"{name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    said = {key: found[key] for key in ("seconds", "peak_mb", "rows", "p50_ms", "max_ms") if key in found}
    told = ", ".join(
        f"{key} {value:,.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in said.items()
    )
    print(f"{name} at {known.rows // 1_000_000}M{' limited' if memory_mb else ''}: {told}", flush=True)
    return found


def _check(runs: Runs, name: str, rows: int) -> None:
    """Compare an answer with millrace's, column by column."""
    ours, theirs = runs.taken["millrace", rows][0], runs.taken[name, rows][0]
    if theirs["rows"] != ours["rows"]:
        runs.differences.append(
            f"{name} at {rows // 1_000_000}M gave {theirs['rows']:,} rows for {ours['rows']:,} labels"
        )
    elif theirs["counts"] != ours["counts"] or not _same_sums(ours["sums"], theirs["sums"]):
        runs.differences.append(f"{name} at {rows // 1_000_000}M gave other values")


def _same_sums(ours: object, theirs: object) -> bool:
    assert isinstance(ours, dict)  # noqa: S101 - printed by our own script
    assert isinstance(theirs, dict)  # noqa: S101 - the same
    return ours.keys() == theirs.keys() and all(math.isclose(ours[k], theirs[k], rel_tol=_CLOSE) for k in ours)


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE" and not k.startswith("MILLRACE_")}
    # The peer would report its use over the network.
    return {**kept, "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"}


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [1, 10, 30])
