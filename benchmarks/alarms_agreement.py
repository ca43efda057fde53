"""Real runs of Evidently beside our reading of its rule, on the same windows: the simulation of a year is only as good as that."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import alarms_world as worlds
import peers
import pyarrow.parquet as pq
from alarms_rules import LIMIT, scores_of
from alarms_seed import counted_table, profile_of

PEER = "monitoring-evidently"
_SEED, _WINDOWS, _SIZES = 2000, 6, (100, 1_000, 10_000)
_FEATURES = [*worlds.NUMERIC, *worlds.TEXT]


@dataclass(frozen=True)
class Agreed:
    """One window without a change.

    Attributes:
        size: its rows.
        cpu_s: what Evidently's report took.
        drifted: columns that it calls drifted, of 25. By our reading: `ours`.
        same: columns on which both say the same.
        farthest: the largest difference of two scores.
    """

    size: int
    cpu_s: float
    drifted: int
    ours: int
    same: int
    farthest: float


def evidently(folder: Path) -> list[Agreed]:
    """Six windows of each size; kept in the folder, for they take minutes."""
    kept = folder / "evidently.json"
    if not kept.exists():
        kept.write_text(json.dumps([asdict(one) for one in _compared(peers.made(PEER), folder)]))
    return [Agreed(**one) for one in json.loads(kept.read_text())]


def _compared(environment: Path, folder: Path) -> Iterator[Agreed]:
    world = worlds.World(_SEED, realistic=False, rows_a_day=1)
    rows = worlds.table(worlds.reference_days(world))
    profile = profile_of(rows)
    before = folder / "reference.parquet"
    pq.write_table(rows.select(_FEATURES), before)
    for size in _SIZES:
        for number in range(_WINDOWS):
            log = worlds.table({number: world.day(number, size, worlds.Change())})
            path = folder / "window.parquet"
            pq.write_table(log.select(_FEATURES), path)
            told = _report(environment, before, path)
            columns = {column.name: column for column in profile.columns}
            ours = scores_of(counted_table(profile, log)[0], columns).evidently
            theirs = [told["scores"][name] for name in _FEATURES]
            pairs = list(zip(ours.tolist(), theirs, strict=True))
            yield Agreed(
                size,
                told["cpu_s"],
                sum(score > LIMIT for score in theirs),
                int((ours > LIMIT).sum()),
                sum((a > LIMIT) == (b > LIMIT) for a, b in pairs),
                max(abs(a - b) for a, b in pairs),
            )
            print(f"Evidently on window {number + 1} of {size:,} rows", flush=True)


def _report(environment: Path, before: Path, path: Path) -> dict[str, dict[str, float] | float]:
    script = Path(__file__).with_name("alarms_evidently.py")
    command = [str(environment / "bin" / "python"), "-W", "ignore", str(script), str(before), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, float] | float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
