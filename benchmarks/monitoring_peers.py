"""A peer of the monitoring benchmark, run by its own environment: `monitoring_peers.py WHAT REFERENCE.parquet CURRENT.parquet`.

`evidently` is a report with its `DataDriftPreset`; `nannyml` a `UnivariateDriftCalculator` as it comes (Jensen-Shannon, ten chunks), `nannyml-all` with the
methods of its documentation's example. Both get pandas frames: reading and importing is not timed. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings

# It would report its use over the network.
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402, TID253 - this is the peers' own
import processes  # noqa: E402

_METHODS = {
    "nannyml": {},
    "nannyml-all": {
        "continuous_methods": ["kolmogorov_smirnov", "jensen_shannon", "wasserstein"],
        "categorical_methods": ["chi2", "jensen_shannon", "l_infinity"],
    },
}


def main(what: str, reference: str, current: str) -> None:
    """Run it, and print what was measured."""
    before, after = pd.read_parquet(reference), pd.read_parquet(current)
    measured = _evidently(before, after) if what == "evidently" else _nannyml(before, after, _METHODS[what])
    print(json.dumps({"peak_mb": processes.peak_mb()} | measured))


def _evidently(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, object]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers = [name for name in before if name.startswith("n")]
    definition = DataDefinition(
        numerical_columns=numbers, categorical_columns=[name for name in before if name not in numbers]
    )
    begun, cpu = time.perf_counter(), time.process_time()
    datasets = [Dataset.from_pandas(frame, data_definition=definition) for frame in (after, before)]
    done = Report([DataDriftPreset()]).run(*datasets).dict()
    measured = {"seconds": time.perf_counter() - begun, "cpu_s": time.process_time() - cpu}
    counts = [metric["value"] for metric in done["metrics"] if metric["metric_name"].startswith("DriftedColumnsCount")]
    return measured | {"drifted": int(counts[0]["count"])}


def _nannyml(before: pd.DataFrame, after: pd.DataFrame, methods: dict[str, list[str]]) -> dict[str, object]:
    from nannyml import UnivariateDriftCalculator

    begun, cpu = time.perf_counter(), time.process_time()
    calculator = UnivariateDriftCalculator(column_names=list(before), **methods)
    calculator.fit(before)
    fitted, fit_cpu = time.perf_counter() - begun, time.process_time() - cpu
    result = calculator.calculate(after)
    measured = {"seconds": time.perf_counter() - begun, "cpu_s": time.process_time() - cpu}
    frame = result.filter(period="analysis").to_df()
    alerts = frame.loc[:, frame.columns.get_level_values(2) == "alert"]
    drifted = {name for name, *_ in alerts.columns[alerts.all()]}
    return measured | {"fit_s": fitted, "fit_cpu_s": fit_cpu, "drifted": len(drifted)}


if __name__ == "__main__":
    main(*sys.argv[1:])
