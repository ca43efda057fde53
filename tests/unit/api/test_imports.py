from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["supervisor", "worker", "drain_loop", "discovery"])
def test_only_control_is_heavy(module: str) -> None:
    heavy = ("mlflow", "pandas", "sklearn", "xgboost", "lightgbm", "duckdb", "pyspark")
    code = f"import sys, millrace.api.{module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
