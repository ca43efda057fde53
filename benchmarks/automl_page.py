"""The AutoML benchmark's section of docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sections
from automl_data import SAYS, TEST_SHARE
from automl_figures import Figure, Floats, Table, figure, ranks, split_of
from automl_ours import BASELINES

Result = Mapping[str, Any]
Row = tuple[str, str, str, bool]

_PACKAGES = ("millrace", "optuna", "scikit-learn", "lightgbm", "xgboost-cpu", "pandas")
_NAMES = {
    "millrace": "millrace",
    "millrace-low": 'millrace, `latency="low"`',
    "flaml": "FLAML",
    "autogluon-medium": "AutoGluon, medium quality",
    "autogluon-best": "AutoGluon, best quality",
    "xgboost-100": "XGBoost, 100 trees, depth 6, rate 0.1",
    "dummy": "dummy",
    "logistic": "logistic regression",
    "hist_gb": "HistGradientBoosting, defaults",
    "lightgbm": "LightGBM, defaults",
    "xgboost": "XGBoost, defaults",
}
_SEARCHES = ("millrace", "millrace-low", "flaml", "autogluon-medium", "autogluon-best")
_RANKED = ("millrace", "flaml", "autogluon-medium", "autogluon-best", "xgboost-100")
_FASTER, _OVER, _OVER_S, _QUIET = 100, 0.05, 1.0, 0.1


def page(results: Sequence[Result], seconds: float, peers: Sequence[Mapping[str, str]]) -> str:
    """The section as Markdown."""
    tables = {name: _table(name, results) for name in SAYS if any(each["table"] == name for each in results)}
    tables = {name: found for name, found in tables.items() if found is not None}
    seeds = Counter(each["table"] for each in results if each["contender"] == "dummy")
    cuts = ", ".join(sorted({str(each["seed"]) for each in results}))
    busy = [each["busy"] for each in results if each["contender"] in _SEARCHES]
    return "\n".join(
        [
            "## AutoML",
            "",
            sections.circumstances(_PACKAGES)
            + ". Peers: "
            + "; ".join(", ".join(f"{name} {version}" for name, version in one.items()) for one in peers)
            + f". {_quiet(busy)} Made by `make bench-automl`.",
            "",
            f"Repeated holdout: {TEST_SHARE:.0%} of the rows are for the test, stratified by class, cut anew by each of the seeds {cuts}. Each search has",
            f"{seconds:.0f} s on 2 cores, and a process of its own; searches come in turn. All look for the least log-loss. FLAML chooses among its own estimators; AutoGluon has its presets",
            "as they come, with LightGBM, XGBoost and CatBoost, scikit-learn's forests and linear models, and without torch and ray. Intervals are of 95 %, by bootstrap over splits and over",
            "test rows, the same draws for all. AUC of more than two classes is the mean of each against the rest.",
            "",
            *_quality(tables, seeds),
            "",
            *_costs(results),
            "",
            *_verdicts(tables, results, seconds),
        ]
    )


def _table(name: str, results: Iterable[Result]) -> Table | None:
    """None where no split has been answered by everybody who answered any."""
    mine = [each for each in results if each["table"] == name]
    everybody = {each["contender"] for each in results}
    by_seed = [[each for each in mine if each["seed"] == seed] for seed in sorted({each["seed"] for each in mine})]
    whole = [split_of(split) for split in by_seed if {each["contender"] for each in split} == everybody]
    return Table(whole, seed=0) if whole else None


def _quality(tables: Mapping[str, Table], seeds: Mapping[str, int]) -> list[str]:
    names = [name for name in _NAMES if all(name in table.loss for table in tables.values())]
    found = ["| log-loss | " + " | ".join(f"{name}: {SAYS[name]}, {_splits(seeds[name])}" for name in tables) + " |"]
    found.append("|-|" + "-|" * len(tables))
    found += [_line(name, [figure(table.loss[name]) for table in tables.values()]) for name in names]
    found += ["", "| AUC | " + " | ".join(tables) + " |", "|-|" + "-|" * len(tables)]
    return found + [_line(name, [figure(table.auc[name]) for table in tables.values()]) for name in names]


def _splits(count: int) -> str:
    return f"{count} splits" if count > 1 else "1 split"


def _line(name: str, figures: Iterable[Figure]) -> str:
    shown = (f"{each.value:.4f} ({each.low:.4f} to {each.high:.4f})" for each in figures)
    return f"| {_NAMES[name]} | " + " | ".join(shown) + " |"


def _costs(results: Sequence[Result]) -> list[str]:
    """Medians over tables and seeds, and the worst of what must not be exceeded."""
    found = [
        "| | search, s: median, longest | process from start to end, s | one row, ms: p50 (least to most) | result on disk, MB | tried, median |",
        "|-|-|-|-|-|-|",
    ]
    for name, shown in _NAMES.items():
        mine = [each for each in results if each["contender"] == name]
        if not mine:
            continue
        row = [each["row_ms"] for each in mine]
        found.append(
            f"| {shown} | {_median(mine, 'fit_s'):.1f}, {max(each['fit_s'] for each in mine):.1f} | {_median(mine, 'wall_s'):.1f} "
            f"| {statistics.median(row):.2f} ({min(row):.2f} to {max(row):.2f}) | {_median(mine, 'size_mb'):.2f} | {_median(mine, 'trials'):.0f} |"
        )
    remarks = [_cold(results), _served(results)]
    return [*found, "", *(each for each in remarks if each)]


def _cold(results: Sequence[Result]) -> str:
    cold = [each["cold_ms"] for each in results if each["contender"] == "autogluon-best"]
    if not cold:
        return ""
    return (
        "- A row is a pandas frame with one row, given to a loaded model's `predict_proba`. AutoGluon's models are held in memory (`persist`) and cloned for deployment; as it comes, reading them for"
        f" each question, best quality takes {statistics.median(cold):.0f} ms."
    )


def _served(results: Sequence[Result]) -> str:
    served = [each["served_ms"] for each in results if each["contender"] == "millrace" and "served_ms" in each]
    return f"- As the endpoint predicts it, a row takes millrace {statistics.median(served):.3f} ms." if served else ""


def _verdicts(tables: Mapping[str, Table], results: Sequence[Result], seconds: float) -> list[str]:
    found = ["| what | measured | target | |", "|-|-|-|-|"]
    rows = [*_rank_rows(list(tables.values())), *_baseline_rows(tables), *_cost_rows(results, seconds)]
    return found + [
        f"| {what} | {was} | {target} | {'met' if met else '**not met**'} |" for what, was, target, met in rows
    ]


def _rank_rows(tables: Sequence[Table]) -> Iterable[Row]:
    names = [name for name in _RANKED if tables and all(name in table.loss for table in tables)]
    if "millrace" not in names:
        return
    found = ranks(tables, names)
    best = min((name for name in names if name != "millrace"), key=lambda name: found[name][0])
    gap = figure(found["millrace"] - found[best])
    told = ", ".join(f"{_NAMES[name]} {found[name][0]:.1f}" for name in sorted(names, key=lambda name: found[name][0]))
    measured = f"{told}; ours less {_NAMES[best]}'s: {_signed(gap, 1)}"
    yield "mean rank by log-loss", measured, "best, or tied within the interval", gap.low <= 0


def _baseline_rows(tables: Mapping[str, Table]) -> Iterable[Row]:
    for name, table in tables.items():
        there = [each for each in BASELINES if each in table.loss]
        if there and "millrace" in table.loss:
            best = min(there, key=lambda each: table.loss[each][0])
            gap: Floats = table.loss["millrace"] - table.loss[best]
            shown = figure(gap)
            yield (
                f"{name}: log-loss less the best baseline's ({_NAMES[best]})",
                _signed(shown, 4),
                "not above 0 beyond the interval",
                shown.low <= 0,
            )


def _cost_rows(results: Sequence[Result], seconds: float) -> Iterable[Row]:
    ours = [each for each in results if each["contender"] == "millrace"]
    theirs = [each for each in results if each["contender"] == "autogluon-best"]
    if ours:
        limit, longest = seconds + max(_OVER_S, _OVER * seconds), max(each["fit_s"] for each in ours)
        yield "time of a search, the longest", f"{longest:.1f} s", f"at most {limit:.0f} s", longest <= limit
    for name in ("millrace", "millrace-low"):
        mine = [each for each in results if each["contender"] == name]
        if mine and theirs:
            for key, how in (("row_ms", "a frame of one row"), ("served_ms", "as the endpoint predicts")):
                if all(key in each for each in mine):
                    times = _median(theirs, "row_ms") / _median(mine, key)
                    what = f"AutoGluon's best quality beside {_NAMES[name]}, one row, {how}"
                    yield what, f"{times:.0f} times", f"at least {_FASTER}", times >= _FASTER


def _signed(found: Figure, digits: int) -> str:
    return f"{found.value:+.{digits}f} ({found.low:+.{digits}f} to {found.high:+.{digits}f})"


def _quiet(busy: Sequence[float]) -> str:
    if not busy or max(busy) <= _QUIET:
        return "Nothing else ran meanwhile."
    return (
        f"Something else ran meanwhile: up to {100 * max(busy):.0f} % of the processors were busy before a search began ({100 * statistics.median(busy):.0f} % at the median),"
        " so searches got less done than they could."
    )


def _median(results: Sequence[Result], key: str) -> float:
    return statistics.median(each[key] for each in results)
