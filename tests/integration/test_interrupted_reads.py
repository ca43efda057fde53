"""Ctrl-C during a read is Ctrl-C, and not a file that can't be read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Of a hundred, DuckDB alone would tell ten to twenty otherwise.
_TIMES = 100


@pytest.mark.parametrize("read", ["windows", "duckdb_lookup", "arrow_lookup", "lake_sql", "monitor_sql", "lake_rows"])
def test_an_interrupted_read_is_an_interruption(tmp_path: Path, read: str) -> None:
    program = Path(__file__).with_name("interrupted_reads.py")
    command = [sys.executable, str(program), str(tmp_path), read, str(_TIMES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"KeyboardInterrupt": _TIMES}
