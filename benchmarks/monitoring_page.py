"""The monitoring benchmark's section of docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

import sections
from monitoring_data import LARGE, NUMBERS, TEXTS

_PACKAGES = ("millrace", "numpy", "pyarrow")
_NAMES = {
    "count": "millrace: a window against a stored reference",
    "reference": "millrace: the reference itself, once for a model version",
    "large": "millrace: a window of ten times as many rows",
    "evidently": "Evidently, `DataDriftPreset`",
    "nannyml": "NannyML, `UnivariateDriftCalculator` as it comes",
    "nannyml-all": "NannyML, with the methods of its documentation's example",
}
_COUNT_S, _LARGE_S, _MEMORY_MB, _EVIDENTLY, _NANNYML, _NEAR = 0.5, 5.0, 400, 150, 25, 1 / 512
_QUIET = 0.1

Taken = Mapping[str, Sequence[Mapping[str, float]]]
Row = tuple[str, str, str, bool | None]


def page(taken: Taken, busy: float, peers: Sequence[Mapping[str, str]]) -> str:
    """The section as Markdown."""
    rows = int(taken["count"][0]["rows"])
    return "\n".join(
        [
            "## Monitoring",
            "",
            sections.circumstances(_PACKAGES)
            + ". Peers: "
            + "; ".join(", ".join(f"{name} {version}" for name, version in one.items()) for one in peers)
            + f". {_quiet(busy)} Made by `make bench-monitoring`.",
            "",
            f"{rows:,} rows of {len(NUMBERS)} numbers (5 of them with 2 % nulls) and {len(TEXTS)} texts of {_numbered(TEXTS.values())} values, Parquet with zstd, against",
            "a reference of as many. Each run has a process of its own, ours come between the peers', files are in the page cache. Ours is timed from the file's",
            "path to all distances (KS, Wasserstein, PSI, Jensen-Shannon; total variation, L-infinity, chi-squared) and p-values of all columns, the Parquet read included and",
            "imports excluded; the peers get pandas frames that are in memory already, so neither their reading nor their imports are timed. The work is not the",
            "same: Evidently takes the reference anew each time and prepares plots, and chooses one distance for each column; NannyML learns a reference (fit) and",
            "then compares ten chunks. Medians; least and most where there are several runs.",
            "",
            "| | seconds | processor, s | whole process, s | peak memory | columns called drifted |",
            "|-|-|-|-|-|-|",
            *(_line(name, taken[name]) for name in _NAMES if name in taken),
            "",
            *_remarks(taken),
            "",
            "| what | measured | target | |",
            "|-|-|-|-|",
            *(f"| {what} | {found} | {target} | {_met(is_met)} |" for what, found, target, is_met in _targets(taken)),
        ]
    )


def _line(name: str, runs: Sequence[Mapping[str, float]]) -> str:
    seconds = [run["seconds"] for run in runs]
    spread = f" ({min(seconds):.2f} to {max(seconds):.2f})" if len(seconds) > 1 else ""
    drifted = f"{runs[0]['drifted']:.0f}" if "drifted" in runs[0] else ""
    return (
        f"| {_NAMES[name]} | {statistics.median(seconds):.2f}{spread} | {_median(runs, 'cpu_s'):.2f} "
        f"| {_median(runs, 'process_s'):.2f} | {_peak(runs):,.0f} MB | {drifted} |"
    )


def _remarks(taken: Taken) -> list[str]:
    count, reference = taken["count"], taken["reference"]
    imports, judging = _median(count, "import_s"), _median(count, "distances_ms")
    found = [
        f"- Our imports take {imports:.2f} s more where nothing is imported yet; distances and tests are {judging:.0f} ms of the time above.",
        f"- The reference is {_median(reference, 'reference_kb'):.0f} KB of JSON.",
    ]
    both = _median(count, "seconds") + _median(reference, "seconds")
    for name in ("evidently", "nannyml", "nannyml-all"):
        if name in taken:
            run = taken[name][0]
            words = [f"{run['seconds'] / both:.0f} times the time of our reference and window together"]
            if "fit_s" in run:
                calculate = run["seconds"] - run["fit_s"]
                words.append(
                    f"fit {run['fit_s']:.1f} s, and its calculation alone, {calculate:.1f} s, {calculate / _median(count, 'seconds'):.0f} times a window of ours"
                )
            cpu = run["cpu_s"] / _median(count, "cpu_s")
            words.append(f"{cpu:.0f} times the processor time of a window of ours")
            found.append(f"- {_NAMES[name]}: " + "; ".join(words) + ".")
    return found


def _targets(taken: Taken) -> list[Row]:
    count, large, exact = taken["count"], taken["large"], taken["exact"][0]
    seconds, large_s = _median(count, "seconds"), _median(large, "seconds")
    rows: list[Row] = [
        ("a window, with the Parquet read", f"{seconds:.2f} s", f"at most {_COUNT_S} s", seconds <= _COUNT_S),
        ("its peak memory", f"{_peak(count):,.0f} MB", f"under {_MEMORY_MB} MB", _peak(count) < _MEMORY_MB),
        (
            f"a window of {LARGE} times as many rows",
            f"{large_s:.2f} s",
            f"at most {_LARGE_S:.0f} s",
            large_s <= _LARGE_S,
        ),
        ("its peak memory", f"{_peak(large):,.0f} MB", f"under {_MEMORY_MB} MB", _peak(large) < _MEMORY_MB),
    ]
    for name, least in (("evidently", _EVIDENTLY), ("nannyml", _NANNYML), ("nannyml-all", None)):
        if name in taken:
            times = taken[name][0]["seconds"] / seconds
            what = f"{_NAMES[name]}{', its fit included' if 'fit_s' in taken[name][0] else ''}, beside a window"
            target, is_met = (f"at least {least}", times >= least) if least else ("", None)
            rows.append((what, f"{times:.0f} times", target, is_met))
    for key, what in (
        ("ks", "KS"),
        ("tv", "total variation"),
        ("wasserstein_sd", "Wasserstein, in standard deviations"),
    ):
        limit = f"at most {_NEAR:.5f} (1/512)" if key != "wasserstein_sd" else ""
        rows.append(
            (
                f"{what}: largest difference from the exact distance",
                f"{exact[key]:.5f}",
                limit,
                exact[key] <= _NEAR if limit else None,
            )
        )
    return rows


def _numbered(values: Iterable[int]) -> str:
    *others, last = map(str, values)
    return f"{', '.join(others)} and {last}"


def _met(is_met: bool | None) -> str:  # noqa: FBT001 - there is nothing else
    return "" if is_met is None else "met" if is_met else "**not met**"


def _quiet(busy: float) -> str:
    if busy <= _QUIET:
        return "Nothing else ran meanwhile."
    return f"Something else ran meanwhile: up to {100 * busy:.0f} % of the processors were busy before a run began."


def _median(runs: Sequence[Mapping[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _peak(runs: Sequence[Mapping[str, float]]) -> float:
    return max(run["peak_mb"] for run in runs)
