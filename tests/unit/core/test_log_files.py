from __future__ import annotations

from pathlib import Path

from millrace.core.log_files import open_log


def test_a_long_log_is_put_aside(tmp_path: Path) -> None:
    log = open_log(tmp_path, "worker-0")
    log.write_bytes(b"x" * (5 << 20))
    assert not open_log(tmp_path, "worker-0").exists()
    assert (tmp_path / "worker-0.log.1").exists()
