from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from millrace.features.adapters.duckdb_spill import spill_folder

_KILLED = """
import os, pathlib, signal
from millrace.features.adapters.duckdb_spill import spill_folder
with spill_folder() as folder:
    (pathlib.Path(folder) / "block").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_is_gone_afterwards_and_what_a_killed_process_left_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", _KILLED], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("*/block"))) == 1
    (tmp_path / "millrace-spill-else").mkdir()
    with spill_folder() as outer, spill_folder() as inner:
        assert sorted(tmp_path.iterdir()) == sorted([Path(outer), Path(inner), tmp_path / "millrace-spill-else"])
    assert [path.name for path in tmp_path.iterdir()] == ["millrace-spill-else"]
