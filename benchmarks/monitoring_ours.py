"""millrace's side of the monitoring benchmark, in a process of its own: `monitoring_ours.py WHAT REFERENCE.json FILE.parquet`.

`reference` profiles a file and writes the reference; `count` counts a file in the reference's cells and computes all distances; `exact` compares
these distances with exact ones, by sorting both files' columns. Prints one line of JSON.
"""

from __future__ import annotations

import time

_BEGUN = time.perf_counter()  # before anything is imported

import json  # noqa: E402
import sys  # noqa: E402
from collections import Counter  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import processes  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from millrace.monitoring.counts.kernel import count_batches, parquet_batches  # noqa: E402
from millrace.monitoring.reference.cells import as_numbers  # noqa: E402
from millrace.monitoring.reference.column import ColumnProfile  # noqa: E402
from millrace.monitoring.reference.profile import ReferenceProfile  # noqa: E402
from millrace.statistics import distances as far  # noqa: E402
from millrace.statistics.tests import chi2_from_counts, ks_p_value  # noqa: E402

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Said = dict[str, object]


def main(what: str, reference: str, file: str) -> None:
    """Do it, and print what was measured."""
    ks_p_value(0.1, 10, 10)  # imports scipy
    imported = time.perf_counter() - _BEGUN
    measured = {"reference": _reference, "count": _count, "exact": _exact}[what](Path(reference), file)
    print(json.dumps({"import_s": imported, "peak_mb": processes.peak_mb()} | measured))


def _reference(path: Path, file: str) -> Said:
    begun, cpu = time.perf_counter(), time.process_time()
    profile = ReferenceProfile.build(pq.read_table(file))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    path.write_text(profile.to_json())
    return {"seconds": seconds, "cpu_s": cpu, "reference_kb": path.stat().st_size / 1024}


def _count(path: Path, file: str) -> Said:
    columns = _columns(path)
    begun, cpu = time.perf_counter(), time.process_time()
    counted = _counted(columns, file)
    seconds = time.perf_counter() - begun
    found = {name: _compared(columns[name], counts) for name, counts in counted.items()}
    both, cpu = time.perf_counter() - begun, time.process_time() - cpu
    rows = {int(counts.sum()) for counts in counted.values()}
    drifted = sum(each.get("ks", each.get("tv", 0.0)) > 0.1 for each in found.values())  # noqa: PLR2004 - the peers' own limit
    return {
        "seconds": both,
        "cpu_s": cpu,
        "distances_ms": 1000 * (both - seconds),
        "rows": rows.pop(),
        "drifted": drifted,
    }


def _exact(path: Path, file: str) -> Said:
    """The largest differences between distances from counts and exact ones, over all columns."""
    columns = _columns(path)
    counted = _counted(columns, file)
    worst = {"ks": 0.0, "wasserstein_sd": 0.0, "tv": 0.0}
    before, after = (pq.ParquetFile(one) for one in (str(path.with_name("reference.parquet")), file))
    for name, profile in columns.items():
        found = _compared(profile, counted[name])
        one, other = (source.read(columns=[name]).column(name) for source in (before, after))
        if profile.kind == "text":
            gap = {"tv": _exact_tv(one.to_pylist(), other.to_pylist())}
        else:
            exact = _exact_area(
                *(np.sort(values[~np.isnan(values)]) for values in (as_numbers(one, name), as_numbers(other, name)))
            )
            gap = {"ks": exact[0], "wasserstein_sd": exact[1] / (profile.sd or 1.0)}
        worst |= {key: max(worst[key], abs(found[key] - value)) for key, value in gap.items()}
    return dict(worst)


def _columns(path: Path) -> dict[str, ColumnProfile]:
    return {column.name: column for column in ReferenceProfile.from_json(path.read_text()).columns}


def _counted(columns: dict[str, ColumnProfile], file: str) -> dict[str, Ints]:
    counted = count_batches(parquet_batches([file], columns), columns)
    return {name: tally.cells[0] for name, tally in counted.items()}


def _compared(profile: ColumnProfile, counts: Ints) -> dict[str, float]:
    """Every distance of one column, and the tests."""
    p, q = np.array(profile.counts), counts[1:]
    found = {"js": far.js_from_counts(p, q), "psi": far.psi_from_counts(p, q), "missing": counts[0] / counts.sum()}
    if profile.kind == "text":
        test = chi2_from_counts(p, q)
        return found | {
            "tv": far.tv_from_counts(p, q),
            "l_infinity": far.l_infinity_from_counts(p, q),
            "p_value": test.p_value,
        }
    ks = far.ks_from_counts(p, q)
    edges = np.array(profile.edges)
    area = far.wasserstein_from_counts(p, q, np.r_[edges[:1], edges, edges[-1:]])
    p_value = ks_p_value(ks, float(p.sum()), float(q.sum()))
    return found | {"ks": ks, "wasserstein_sd": area / (profile.sd or 1.0), "p_value": p_value}


def _exact_area(one: Floats, other: Floats) -> tuple[float, float]:
    """Kolmogorov-Smirnov and Wasserstein distance of sorted values."""
    steps = np.sort(np.r_[one, other])
    gap = np.abs(np.searchsorted(one, steps, "right") / len(one) - np.searchsorted(other, steps, "right") / len(other))
    return float(gap.max()), float((gap[:-1] * np.diff(steps)).sum())


def _exact_tv(one: list[str], other: list[str]) -> float:
    p, q = Counter(one), Counter(other)
    return sum(abs(p[name] / len(one) - q[name] / len(other)) for name in {*p, *q}) / 2


if __name__ == "__main__":
    main(*sys.argv[1:])
