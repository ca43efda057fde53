"""The feature benchmark's section of docs/benchmarks.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence

import sections

_PACKAGES = ("millrace", "deltalake", "duckdb", "numpy", "pyarrow")
_SMALL, _LARGE, _HUGE = 1_000_000, 10_000_000, 30_000_000
_MB_LIMIT = 3_500
_SIZES = (_SMALL, _LARGE, _HUGE)

Taken = Mapping[tuple[str, int], Sequence[Mapping[str, object]]]


def page(taken: Taken, differences: Sequence[str], peer: Mapping[str, str]) -> str:
    """The section as Markdown."""
    return "\n".join(
        [
            "## Training sets",
            "",
            sections.circumstances(_PACKAGES)
            + ". Peer: "
            + ", ".join(f"{name} {version}" for name, version in peer.items())
            + ". Made by `make bench-features`.",
            "",
            "A million labels against two feature tables of 20 float32 features each, one row a day for each of 100,000",
            "customers, labels at any microsecond. Timed from the call to the Arrow table, imports excluded, each run in a",
            "process of its own, contenders in turn, files in the page cache. millrace's time includes the record and its",
            "fingerprint; `duckdb` is one SQL statement, `ASOF LEFT JOIN` over the same Parquet files, with as many threads.",
            "Feast reads the same files with `get_historical_features`, labels as the pandas frame that it asks for.",
            "",
            "| | rows of each table | best | median | runs | peak memory | rows out |",
            "|-|-|-|-|-|-|-|",
            *(_row(name, rows, runs) for (name, rows), runs in sorted(taken.items(), key=_order) if name != "small"),
            "",
            *_configurations(taken),
            *(f"- {difference}." for difference in differences),
            *([] if differences else ["- All gave the same answer: rows, counts, and a weighted sum of each column."]),
            "",
            "| what | measured | limit |",
            "|-|-|-|",
            *(f"| {what} | {measured} | {limit} |" for what, measured, limit in _targets(taken)),
        ]
    )


def _order(item: tuple[tuple[str, int], object]) -> tuple[int, float]:
    (name, rows), _ = item
    return rows, ["millrace", "limited", "duckdb", "feast-duckdb", "feast-dask", "small"].index(name)


def _row(name: str, rows: int, runs: Sequence[Mapping[str, object]]) -> str:
    seconds = _seconds(runs)
    shown = "millrace, 4 GB at most" if name == "limited" else name
    return (
        f"| {shown} | {rows // 1_000_000}M | {min(seconds):.2f} s | {statistics.median(seconds):.2f} s | {len(runs)} "
        f"| {_peak(runs):,.0f} MB | {runs[0]['rows']:,} |"
    )


def _configurations(taken: Taken) -> list[str]:
    """The first run of each contender says how it was set up."""
    first: dict[str, object] = {}
    for (name, _), runs in taken.items():
        if "configuration" in runs[0]:
            first.setdefault(name, runs[0]["configuration"])
    return [f"- {name}: `{_plain(said)}`" for name, said in first.items() if name != "limited"]


def _plain(said: object) -> str:
    return json.dumps(said, sort_keys=True)


def _targets(taken: Taken) -> list[tuple[str, str, str]]:
    found = []
    for rows in (_SMALL, _LARGE):
        found += _ratio(
            taken, f"time beside DuckDB's own join, {rows // 1_000_000}M", ("millrace", rows), ("duckdb", rows), "1.25"
        )
    for name, rows, limit in (("feast-duckdb", _LARGE, "3"), ("feast-dask", _SMALL, "10")):
        found += _ratio(
            taken,
            f"{name} beside millrace, {rows // 1_000_000}M",
            (name, rows),
            ("millrace", rows),
            f"at least {limit}",
        )
    for rows, limit in ((_LARGE, "12"), (_HUGE, "36")):
        found += _ratio(taken, f"growth, 1M to {rows // 1_000_000}M", ("millrace", rows), ("millrace", _SMALL), limit)
    if ("millrace", _LARGE) in taken:
        feast = _peak(taken["feast-duckdb", _LARGE]) if ("feast-duckdb", _LARGE) in taken else _MB_LIMIT
        limit_mb = min(feast, _MB_LIMIT)
        found.append(("peak memory, 10M", f"{_peak(taken['millrace', _LARGE]):,.0f} MB", f"{limit_mb:,.0f} MB"))
    if ("limited", _HUGE) in taken:
        found.append(("30M with 4 GB at most", f"{_peak(taken['limited', _HUGE]):,.0f} MB", "it ends well"))
    for (name, rows), runs in taken.items():
        if name == "small":
            what = f"training set of one row from both tables, {rows // 1_000_000}M, median"
            found.append((what, f"{runs[0]['p50_ms']:.1f} ms", ""))
    return found


def _ratio(
    taken: Taken, what: str, one: tuple[str, int], other: tuple[str, int], limit: str
) -> list[tuple[str, str, str]]:
    if one not in taken or other not in taken:
        return []
    # Medians: a best of few runs is luck.
    ratio = statistics.median(_seconds(taken[one])) / statistics.median(_seconds(taken[other]))
    return [(what, f"{ratio:.2f} times", limit)]


def _seconds(runs: Sequence[Mapping[str, object]]) -> list[float]:
    return [float(str(run["seconds"])) for run in runs]


def _peak(runs: Sequence[Mapping[str, object]]) -> float:
    return max(float(str(run["peak_mb"])) for run in runs)
