"""Evidently's DataDriftPreset on windows, in its own environment: which columns it calls drifted, one JSON line a window.

Usage: alarms_evidently.py REFERENCE.parquet WINDOW.parquet...
"""

from __future__ import annotations

import json
import sys
import time

import pandas as pd  # noqa: TID253 - in an environment of its own
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main(reference: str, windows: list[str]) -> None:
    """Each window against the reference."""
    before = pd.read_parquet(reference)
    numbers = [name for name in before.columns if name.startswith("n")]
    texts = [name for name in before.columns if name.startswith("c")]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    known = Dataset.from_pandas(before, data_definition=definition)
    for path in windows:
        rows = pd.read_parquet(path)
        begun = time.process_time()
        found = Report([DataDriftPreset()]).run(Dataset.from_pandas(rows, data_definition=definition), known).dict()
        spent = time.process_time() - begun
        scores = {
            str(one["config"]["column"]): float(one["value"]) for one in found["metrics"] if "column" in one["config"]
        }
        print(json.dumps({"cpu_s": spent, "scores": scores}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
