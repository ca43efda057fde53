"""The serving benchmark's section of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sections
import serving_beside
import serving_figures as figures
from serving_contenders import FEAST_KEYS, Contender
from serving_figures import Starts
from serving_load import CONNECTIONS, Start
from serving_model import KEYS

Limits = Mapping[str, int | None]

_MOST = CONNECTIONS[-1]
_ONE, _HUNDRED = "1 row", "100 rows"
_ONE_KEY, _HUNDRED_KEYS = "features of 1 key", "features of 100 keys"
# For each peer how many times its requests per second are wanted; None where nothing is.
_LIMITS_ONE: Limits = {"MLflow": 100, "BentoML": 30, "MLServer": 12, "Ray Serve": None}
_LIMITS_HUNDRED: Limits = {"MLflow": 25, "BentoML": None, "MLServer": 4, "Ray Serve": None}
_LIMITS_KEY: Limits = {"Feast": 100, "Feast, never restarted": None}
_LIMITS_KEYS: Limits = {"Feast": 150, "Feast, never restarted": None}
_CPU_LIMIT, _P50_LIMIT_MS, _MEMORY_LIMIT, _COLD_LIMIT_S = 2.5, 0.3, 0.25, 1.5
_RPS_LIMIT, _P99_LIMIT_MS = 12_000, 2
_QUIET = 0.05

Row = tuple[str, str, str]


def page(contenders: Sequence[Contender], starts: Starts, seconds: int, missing: Mapping[str, str]) -> str:
    """The section as Markdown; `missing` names what could not be measured, and why."""
    rounds = max(len(found) for found in starts.values())
    return "\n".join(
        [
            "## Serving",
            "",
            f"{sections.circumstances()}.",
            f"{_quiet(starts)} Made by `make bench-serving`.",
            "",
            "One XGBoost classifier (100 trees, depth 6, 20 double features), the same file behind each server. One server is alive",
            "at a time, all its processes on one core, wrk on another. In each round each server is started, its answers are compared",
            f"with the model's own, and after a second of warming up it is asked for {seconds} s by {_MOST} connections and half as long by",
            f"1 and by 8, each question with many different bodies. Figures are medians of {rounds} rounds (at most 3 of Ray Serve and Feast);",
            "what is so many times another is so within a round: the median, and the least and the most, of all rounds.",
            f"Sent a key, millrace looks all 20 features up in the online store, among {KEYS:,} keys, and Feast among {FEAST_KEYS:,}. It and our",
            "endpoint of the same kind answer with the features alone. `echo` is the floor: uvicorn, JSON parsed, a constant answered. Processor time is",
            f"that of all processes of a server for a request at {_MOST} connections, what is done about it later (capture to Delta) included;",
            "what is done once, such as the imports of the first drain, is over before it is counted. Ours has proved its models' paths when",
            "they were deployed, and starts with the proofs that it kept.",
            "",
            *_loads(contenders, starts),
            *_starts(contenders, starts),
            *(_configuration(contender) for contender in contenders),
            *(f"- {name} {_left_out(starts.get(name, ()))}: {why}." for name, why in missing.items()),
            _errors(starts),
            "",
            "| what | measured | limit |",
            "|-|-|-|",
            *(f"| {what} | {measured} | {limit} |" for what, measured, limit in _targets(starts)),
            "",
            *serving_beside.table(starts),
        ]
    )


def _left_out(rounds: Sequence[Start]) -> str:
    return f"took part in {len(rounds)} rounds only" if rounds else "could not be measured"


def _quiet(starts: Starts) -> str:
    """Whether the machine was ours alone."""
    others = figures.median([start.others for found in starts.values() for start in found])
    if others < _QUIET:
        return "Nothing else ran in the half seconds before each start."
    return f"OTHER WORK TOOK {others:.0%} OF THE PROCESSORS MEANWHILE: no figure can be trusted, ratios a little."


def _loads(contenders: Sequence[Contender], starts: Starts) -> list[str]:
    """For one row and for a hundred a table: a line for each server and question."""
    lines: list[str] = []
    for rows in sorted({question.rows for contender in contenders for question in contender.questions}):
        of_each = " | ".join(f"c={number}, requests/s | p50 / p99, ms" for number in CONNECTIONS)
        lines += [f"| one request | {of_each} | processor, ms |", "|-|" + "-|" * (2 * len(CONNECTIONS) + 1)]
        for contender in contenders:
            for question in contender.questions:
                if question.rows == rows:
                    lines.append(_load_line(contender.name, question.name, starts[contender.name]))
        lines.append("")
    return lines


def _load_line(server: str, question: str, found: Sequence[Start]) -> str:
    if not figures.knows(found, question, _MOST):
        return f"| {server}, {question} | not offered |" + " |" * (2 * len(CONNECTIONS))
    told = []
    for number in CONNECTIONS:
        rps, p50, p99 = (
            figures.of(found, question, number, value) for value in (figures.rps, figures.p50, figures.p99)
        )
        told.append(f"{rps:,.0f} | {p50:.2f} / {p99:.2f}")
    cpu, answering = (
        figures.of(found, question, _MOST, figures.cpu),
        figures.of(found, question, _MOST, figures.answering_cpu),
    )
    alone = f" (worker {answering:.3f})" if answering < cpu else ""
    return f"| {server}, {question} | {' | '.join(told)} | {cpu:.3f}{alone} |"


def _starts(contenders: Sequence[Contender], starts: Starts) -> list[str]:
    lines = [
        "| | start to first answer | processes | memory (PSS) after the load / at rest | resident (RSS) | of them the answering process: PSS / RSS |",
        "|-|-|-|-|-|-|",
    ]
    for contender in contenders:
        found = starts[contender.name]
        rest = figures.median([start.rest.pss for start in found])
        pss, rss = (figures.median([getattr(start.memory, what) for start in found]) for what in ("pss", "rss"))
        alone = ""
        if contender.answering:
            values = (figures.median([getattr(start.answering, what) for start in found]) for what in ("pss", "rss"))
            alone = " / ".join(f"{value:,.0f} MB" for value in values)
        processes = figures.median([start.memory.processes for start in found])
        lines.append(
            f"| {contender.name} | {figures.cold(found):.2f} s | {processes:.0f} | {pss:,.0f} / {rest:,.0f} MB | {rss:,.0f} MB | {alone} |"
        )
    return [*lines, ""]


def _configuration(contender: Contender) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in contender.versions.items())
    return f"- {contender.name}: {contender.configuration}. {versions}."


def _errors(starts: Starts) -> str:
    counted = {
        name: sum(load.errors for start in found for load in start.loads.values()) for name, found in starts.items()
    }
    failed = ", ".join(f"{name} {number:,}" for name, number in counted.items() if number)
    return (
        f"- Requests that were not answered with 200: {failed}." if failed else "- All requests were answered with 200."
    )


def _targets(starts: Starts) -> list[Row]:
    if "millrace" not in starts:
        return []
    ours = starts["millrace"]
    rows = [
        *_ratios(starts, _ONE, (_ONE,), _LIMITS_ONE),
        *_ratios(starts, _HUNDRED, (_HUNDRED, f"{_HUNDRED}, Arrow", f"{_HUNDRED}, Parquet"), _LIMITS_HUNDRED),
        *_ratios(starts, _ONE_KEY, (_ONE_KEY,), _LIMITS_KEY),
        *_ratios(starts, _HUNDRED_KEYS, (_HUNDRED_KEYS,), _LIMITS_KEYS),
    ]
    if "echo" in starts:
        floor = [figures.of([start], _ONE, _MOST, figures.cpu) for start in starts["echo"]]
        for whose, value in (("all processes", figures.cpu), ("the worker's alone", figures.answering_cpu)):
            taken = [figures.of([start], _ONE, _MOST, value) for start in ours]
            rows.append((f"processor per request beside echo, {whose}", figures.times(taken, floor), f"{_CPU_LIMIT}"))
    rows.append(
        (
            f"{_ONE}, {_MOST} connections, of one core",
            f"{figures.of(ours, _ONE, _MOST, figures.rps):,.0f} requests/s",
            f"{_RPS_LIMIT:,}",
        )
    )
    rows.append(
        (f"{_ONE}, 8 connections, p99", f"{figures.of(ours, _ONE, 8, figures.p99):.2f} ms", f"{_P99_LIMIT_MS} ms")
    )
    rows += [
        (
            f"{question}, one connection, p50",
            f"{figures.of(ours, question, 1, figures.p50):.2f} ms",
            f"{_P50_LIMIT_MS} ms",
        )
        for question in (_ONE, "1 key")
    ]
    if "MLflow" in starts:
        theirs = figures.memory(starts["MLflow"])
        rest = figures.median([start.rest.pss for start in ours]) / theirs
        rows.append(("memory beside MLflow's, all processes, at rest", f"{rest:.2f} times", f"{_MEMORY_LIMIT}"))
        rows.append(("the same, after the load", f"{figures.memory(ours) / theirs:.2f} times", ""))
        alone = figures.median([start.answering.pss for start in ours]) / theirs
        rows.append(("memory beside MLflow's, the worker's alone", f"{alone:.2f} times", f"{_MEMORY_LIMIT}"))
    rows.append(("start to first answer", f"{figures.cold(ours):.2f} s", f"{_COLD_LIMIT_S} s"))
    return rows


def _ratios(starts: Starts, what: str, forms: Sequence[str], limits: Limits) -> list[Row]:
    """Requests per second of ours, in the best of some forms, beside the best that each peer has for as many rows."""
    rows = []
    for peer, limit in limits.items():
        if peer in starts:
            ours = figures.each_round(starts["millrace"], lambda name: name in forms, _MOST, figures.rps, max)
            theirs = figures.each_round(starts[peer], lambda name: name.split(",")[0] == what, _MOST, figures.rps, max)
            wanted = f"at least {limit}" if limit else ""
            rows.append((f"{what}, {_MOST} connections, beside {peer}", figures.times(ours, theirs), wanted))
    return rows
