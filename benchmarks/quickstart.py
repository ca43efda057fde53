"""How long the quickstart takes, how much memory, how much disk; whether the same seed gives the same numbers.

Run by `make bench-quickstart`. Writes its section of docs/benchmarks.md. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import sections

_ROOT = Path(__file__).resolve().parent.parent
_LIMIT_S, _LIMIT_MB, _LIMIT_DISK_MB, _LIMIT_HELP_S = 120, 3000, 1600, 0.5
_SAMPLE_S = 0.5
_PACKAGES = ("deltalake", "duckdb", "mlflow", "pysail", "scikit-learn", "xgboost-cpu", "uvicorn")


@dataclass(frozen=True)
class Measured:
    """One run: seconds by the wall, peak of the proportional set sizes of all its processes in MB, and what it printed."""

    seconds: float
    peak_mb: float
    report: dict[str, object]


def main() -> None:
    """Run it twice, and write the page."""
    runs = [_run(), _run()]
    help_s = min(_timed([_millrace(), "--help"]) for _ in range(5))
    first, second = (_without_seconds(run.report) for run in runs)
    rows = [
        ("wall time, slower of two runs", f"{max(r.seconds for r in runs):.0f} s", f"{_LIMIT_S} s"),
        ("peak memory, all processes", f"{max(r.peak_mb for r in runs):,.0f} MB", f"{_LIMIT_MB:,} MB"),
        (_disk_label(), f"{_disk_mb(_ROOT / '.venv'):,.0f} MB", f"{_LIMIT_DISK_MB:,} MB"),
        ("two runs print the same numbers", "yes" if first == second else "NO", "yes"),
        ("`millrace --help`, best of five", f"{help_s:.2f} s", f"{_LIMIT_HELP_S} s"),
    ]
    _write(rows)


def _run() -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [_millrace(), "quickstart", "--json", "--home", f"{folder}/home"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_environment(),
        )
        peak: list[float] = [0.0]
        sampler = threading.Thread(target=_sample, args=(process, peak))
        sampler.start()
        out, _ = process.communicate()
        seconds = time.perf_counter() - begun
        sampler.join()
        if process.returncode:
            sys.exit(f"the quickstart ended with {process.returncode}")
        return Measured(seconds, peak[0], json.loads(out.strip().splitlines()[-1]))


def _sample(process: subprocess.Popen[str], peak: list[float]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], sum(_pss_mb(pid) for pid in _tree(process.pid)))
        time.sleep(_SAMPLE_S)


def _tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [each for child in children.read_text().split() for each in _tree(int(child))]
        except OSError:  # it ended meanwhile
            continue
    return found


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _disk_label() -> str:
    # What the tests need comes on top: run this after `make setup` alone for the figure that the limit is about.
    return "disk: .venv, with the tests' packages" if (_ROOT / ".venv" / ".set-up-dev").exists() else "disk: .venv"


def _disk_mb(folder: Path) -> float:
    """Decimal megabytes on disk."""
    listing = subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=True).stdout
    return int(listing.split()[0]) * 1024 / 1e6


def _timed(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=_environment())
    return time.perf_counter() - begun


def _millrace() -> str:
    return str(Path(sys.executable).with_name("millrace"))


def _environment() -> dict[str, str]:
    # Without compiled modules every import is several times slower.
    return {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("MILLRACE_")
    }


def _without_seconds(report: dict[str, object]) -> dict[str, object]:
    stages = report["stages"]
    assert isinstance(stages, list)  # noqa: S101 - told by our own command
    kept = [{name: value for name, value in stage.items() if name != "seconds"} for stage in stages]
    return {**report, "stages": kept, "home": "", "found": ""}


def _write(rows: list[tuple[str, str, str]]) -> None:
    lines = [
        "## Quickstart",
        "",
        f"{sections.circumstances(_PACKAGES)}.",
        "Made by `make bench-quickstart`.",
        "",
        "| what | measured | limit |",
        "|-|-|-|",
        *(f"| {what} | {measured} | {limit} |" for what, measured, limit in rows),
    ]
    sections.put("quickstart", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
