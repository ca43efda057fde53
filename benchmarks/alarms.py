"""False alarms a year, and days until a change is told, of our monitors and of other rules, over simulated traffic.

Run by `make bench-alarms`. Each seed is a world of its own: a reference of 26 weeks, a year without a change, and each change by itself, at 100, 1,000 and
10,000 rows a day, with independent rows and with what real days have in common. What a seed came to is kept under .bench/alarms, so that a run that was
stopped goes on; `SEEDS=4` takes fewer seeds and writes nothing to docs/benchmarks.md. Evidently runs in an environment of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import alarms_page
import peers
import sections
from alarms_agreement import PEER, evidently
from peers import FOLDER, ROOT

# Thresholds were chosen by what these seeds showed; no figure of the page comes from them.
CALIBRATION_SEEDS = range(20)
HELD_OUT_SEEDS = range(1000, 1030)
SIZES = (100, 1_000, 10_000)
_HERE = FOLDER / "alarms"
_JUDGES = ("monitoring", "alerts", "statistics")


def main(seeds: int, processes: int, sizes: Sequence[int]) -> None:
    """Run what is missing, and write the page where all was run."""
    begun = time.perf_counter()
    place = _HERE / _code()
    place.mkdir(parents=True, exist_ok=True)
    jobs = [(seed, realistic, size) for size in sizes for seed in HELD_OUT_SEEDS[:seeds] for realistic in (False, True)]
    _run([job for job in jobs if not _file(place, *job).exists()], place, processes)
    results = {job: json.loads(_file(place, *job).read_text()) for job in jobs}
    page = alarms_page.page(results, evidently(_HERE), peers.versions(FOLDER / PEER, ["evidently", "pandas"]))
    print(page)
    print(f"took {time.perf_counter() - begun:.0f} s")
    if seeds == len(HELD_OUT_SEEDS) and tuple(sizes) == SIZES:
        sections.put("alarms", page)


def _run(jobs: Sequence[tuple[int, bool, int]], place: Path, processes: int) -> None:
    # Spawned: a fork after threads were started may hang.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_one, job, str(place)) for job in jobs]
        for done, future in enumerate(as_completed(waiting), start=1):
            print(f"{done} of {len(jobs)}: {future.result()}", flush=True)


def _one(job: tuple[int, bool, int], place: str) -> str:
    from alarms_seed import watch

    begun = time.process_time()
    seed, realistic, size = job
    found = watch(seed, realistic=realistic, rows_a_day=size)
    spent = time.process_time() - begun
    part = _file(Path(place), *job).with_suffix(".part")
    part.write_text(json.dumps(asdict(found) | {"cpu_s": spent}))
    part.rename(_file(Path(place), *job))
    return (
        f"seed {seed}, {'realistic' if realistic else 'independent'}, {size:,} rows a day, {spent:.0f} s of processor"
    )


def _file(place: Path, seed: int, realistic: bool, size: int) -> Path:  # noqa: FBT001 - as jobs hold it
    return place / f"{'realistic' if realistic else 'independent'}-{size}-{seed}.json"


def _code() -> str:
    """What the figures depend on: our judges and this benchmark's worlds."""
    folders = [ROOT / "src" / "millrace" / name for name in _JUDGES]
    files = [*sorted(path for folder in folders for path in folder.rglob("*.py"))]
    files += [ROOT / "benchmarks" / f"alarms_{name}.py" for name in ("world", "seed", "rules")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=len(HELD_OUT_SEEDS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    asked = parser.parse_args()
    main(asked.seeds, asked.processes, asked.sizes)
