from __future__ import annotations

import subprocess
import sys

_HEAVY = "apprise deltalake duckdb lightgbm lmdb mlflow numpy orjson pandas pyarrow pysail pyspark scipy sklearn sqlalchemy xgboost"


def test_importing_millrace_and_its_core_loads_no_heavy_library() -> None:
    script = (
        "import sys, millrace, millrace.core.clock, millrace.core.errors, millrace.core.events, millrace.core.names, "
        "millrace.core.principal, millrace.core.settings; "
        f"print([name for name in {_HEAVY.split()} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
