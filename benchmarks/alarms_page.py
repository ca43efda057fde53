"""The section on alarms of docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sections
from alarms_agreement import Agreed
from alarms_rules import EVIDENTLY_HALF, RULES
from alarms_seed import LABELS_AFTER, LATE

Job = tuple[int, bool, int]
Results = Mapping[Job, Mapping[str, Any]]
_SIZES = (100, 1_000, 10_000)
_MOST = {False: 1.0, True: 2.0}  # false episodes a year
_NAMES = {False: "independent", True: "realistic"}
_CHANGES = {
    "sudden": "mean +0.3 sd, sudden",
    "gradual": "mean 0 to +1 sd over 30 days",
    "category": "categories, TV 0.15",
    "nulls": "missing 2 % to 20 %",
    "concept_mild": "AUC 0.85 to 0.79",
    LATE: f"AUC 0.85 to 0.79, labels {LABELS_AFTER} days late",
    "concept_strong": "AUC 0.85 to 0.69",
}
# Change and rows a day to the days that the median may take.
_TARGETS = {
    ("sudden", 1_000): 0,
    ("category", 1_000): 0,
    ("nulls", 1_000): 0,
    ("sudden", 100): 4,
    ("category", 100): 4,
    ("nulls", 100): 4,
    ("concept_mild", 1_000): 1,
    (LATE, 1_000): 1,
}


def page(results: Results, agreed: Sequence[Agreed], peer: Mapping[str, str]) -> str:
    """The section as Markdown."""
    seeds = len({seed for seed, _, _ in results})
    spent = sum(found["cpu_s"] for found in results.values()) / 60
    peers = f"evidently {peer['evidently']}, pandas {peer['pandas']}"
    return f"""## Alarms

{sections.circumstances(("millrace", "numpy", "scipy"))}. Peer: {peers}. Made by `make bench-alarms`, {spent:.0f} minutes of processor.

Simulated traffic: 20 numbers, 5 categories with 2, 5, 12, 50 and 200 levels (Zipf), a score, labels. Each seed has a reference of 50,000 rows over
26 weeks, then a year without a change, and each change by itself, in a column that the seed chooses. {seeds} seeds that no threshold was chosen by.
Rows are made and counted for real, and judged by the code that a home runs, with default settings: a budget of one false alarm a year, and the default
alert rule, each kind of trouble with episodes of its own. **Independent**: rows have nothing in common. **Realistic**: each day moves each column by a normal effect of
0.04 sd, six numbers have a weekly cycle of 0.15 sd, and the logarithms of categories' shares move by 0.05. The budget is guaranteed for
independent rows only; for others it holds as far as the reference's own windows have shown what days have in common.

""" + "\n".join([*_false(results), *_delays(results), *_others(results), *_agreement(agreed)])


def _false(results: Results) -> list[str]:
    lines = [
        "| false episodes a year | rows a day | seed-years | all kinds: mean (95 %) | drift | quality | volume | performance | estimate | at most | |",
        "|-|-|-|-|-|-|-|-|-|-|-|",
    ]
    for realistic in (False, True):
        for size in _SIZES:
            kinds = [[one["kind"] for one in found["quiet"]] for found in _of(results, realistic, size)]
            years, total = len(kinds), sum(map(len, kinds))
            if not years:
                continue
            low, high = poisson_interval(total)
            by_kind = [
                sum(one.count(kind) for one in kinds) / years
                for kind in ("drift", "quality", "volume", "performance", "estimate")
            ]
            met = "met" if total / years <= _MOST[realistic] else "**missed**"
            lines.append(
                f"| {_NAMES[realistic]} | {size:,} | {years} | **{total / years:.2f}** ({low / years:.2f} to {high / years:.2f}) | "
                + " | ".join(f"{one:.2f}" for one in by_kind)
                + f" | {_MOST[realistic]:.0f} | {met} |"
            )
    return [*lines, ""]


def _delays(results: Results) -> list[str]:
    lines = [
        (
            "Days from the change to the first episode of its kind, 0 for the same day: median / mean / 90 % / missed within 40 days (14 at 10,000 rows); means are of those found. Of a concept drift the days are counted from when "
            f"the labels of the first changed day are known: they come at once, or, as in the year without a change, {LABELS_AFTER} days late, and then it is told so many days later."
        ),
        "",
        "| change | rows a day | independent | realistic | the median may be | |",
        "|-|-|-|-|-|-|",
    ]
    for kind, name in _CHANGES.items():
        for size in _SIZES:
            found = [[one["delays"][kind] for one in _of(results, realistic, size)] for realistic in (False, True)]
            if not any(found):
                continue
            target = _TARGETS.get((kind, size))
            worst = max((_median(one) for one in found if one), default=0.0)
            met = "" if target is None else "met" if worst <= target else "**missed**"
            told = " | ".join(_told(one) for one in found)
            lines.append(f"| {name} | {size:,} | {told} | {'' if target is None else target} | {met} |")
    return [
        *lines,
        "",
        (
            "Where an episode of the kind was open already when the change came, the run is left out. An area that fell by 0.06 is 3.9 standard errors away on one day of 1,000 rows (the day's own is 0.013, that of a reference "
            "which counts as one week's worth of rows 0.009), and the budget asks for 3.7. Where the reference's own days seem to differ beyond chance it is about three, and the first days together have to say it."
        ),
        "",
    ]


def _others(results: Results) -> list[str]:
    lines = [
        (
            "Other rules on the same windows and features: days with an alert of 100 without a change, and false episodes (scaled to a year) under the same two-of-three rule. "
            "They are asked as they come, with their usual thresholds, and once more with a limit divided by the columns; PSI and JS of numbers are taken over ten bins of equal shares."
        ),
        "",
        "| rule | " + " | ".join(f"{_NAMES[r]} {size:,}" for r in (False, True) for size in _SIZES) + " |",
        "|-|" + "-|" * (2 * len(_SIZES)),
    ]
    for name in RULES:
        cells = []
        for realistic in (False, True):
            for size in _SIZES:
                found = [one["rules"][name] for one in _of(results, realistic, size)]
                cells.append(
                    f"{_mean(one[0] for one in found):.1f}; {_mean(one[1] for one in found) * 3.65:.1f}"
                    if found
                    else ""
                )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        "Some never see it: the share of changes on which the rule alerts at all within 40 days, at 10,000 independent rows a day (1,000 where those were not run).",
        "",
        *_seen(results),
    ]


def _seen(results: Results) -> list[str]:
    size = 10_000 if _of(results, False, 10_000) else 1_000
    kinds = ("sudden", "gradual", "category")
    lines = ["| rule | " + " | ".join(_CHANGES[kind] for kind in kinds) + " |", "|-|" + "-|" * len(kinds)]
    for name in RULES:
        cells = []
        for kind in kinds:
            found = [one["detected"][kind][name] for one in _of(results, False, size)]
            cells.append(f"{sum(one is not None for one in found) / max(len(found), 1):.0%}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _agreement(agreed: Sequence[Agreed]) -> list[str]:
    lines = [
        "Real runs of Evidently's `DataDriftPreset` on windows without a change, beside our reading of its rule:",
        "",
        "| rows | windows | columns of 25 that it calls drifted | by our reading | columns on which both agree | largest difference of a score | windows called drift | s of processor each |",
        "|-|-|-|-|-|-|-|-|",
    ]
    for size in sorted({one.size for one in agreed}):
        these = [one for one in agreed if one.size == size]
        half = sum(one.drifted >= 12.5 for one in these)  # noqa: PLR2004 - half of 25
        theirs, ours = (
            ", ".join(map(str, counts)) for counts in ([one.drifted for one in these], [one.ours for one in these])
        )
        lines.append(
            f"| {size:,} | {len(these)} | {theirs} | {ours} | "
            f"{sum(one.same for one in these) / (25 * len(these)):.1%} | {max(one.farthest for one in these):.4f} | {half} of {len(these)} | "
            f"{statistics.median(one.cpu_s for one in these):.1f} |"
        )
    return [*lines, "", f"`{EVIDENTLY_HALF}` above is what its data set verdict asks for."]


def poisson_interval(count: int) -> tuple[float, float]:
    """95 % for a Poisson mean, exact (Garwood 1936)."""
    from scipy.special import chdtri

    low = 0.0 if count == 0 else float(chdtri(2 * count, 0.975)) / 2
    return low, float(chdtri(2 * count + 2, 0.025)) / 2


def _of(results: Results, realistic: bool, size: int) -> list[Mapping[str, Any]]:  # noqa: FBT001 - as jobs hold it
    return [found for (_, real, rows), found in results.items() if (real, rows) == (realistic, size)]


def _median(delays: Sequence[int | None]) -> float:
    known = [100 if one is None else one for one in delays if one != -1]
    return statistics.median(known) if known else 0.0


def _told(delays: Sequence[int | None]) -> str:
    if not delays:
        return ""
    known = sorted(100 if one is None else one for one in delays if one != -1)
    missed = sum(one is None for one in delays)
    late = known[int(np.ceil(0.9 * len(known))) - 1] if known else 0
    told = [one for one in delays if one is not None and one != -1]
    return f"{statistics.median(known):g} / {_mean(told):.1f} / {'over 40' if late == 100 else late} / {missed} of {len(known)}"  # noqa: PLR2004


def _mean(values: Any) -> float:
    found = list(values)
    return sum(found) / max(len(found), 1)
