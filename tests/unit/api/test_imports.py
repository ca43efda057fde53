from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = (
    "mlflow",
    "pandas",
    "sklearn",
    "xgboost",
    "lightgbm",
    "duckdb",
    "pyspark",
    "pyarrow",
    "deltalake",
    "onnxruntime",
)


@pytest.mark.parametrize("module", ["supervisor", "worker", "control", "drain_loop", "discovery"])
def test_what_is_heavy_waits_until_it_is_needed(module: str) -> None:
    code = f"import sys, millrace.api.{module}; print([name for name in {_HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
