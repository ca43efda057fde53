from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from millrace.serving.capture.lag import CaptureLag, capture_lag


def test_what_is_written_and_what_is_sealed_waits(tmp_path: Path) -> None:
    assert capture_lag(tmp_path / "none") == CaptureLag(0, 0, None)
    assert capture_lag(tmp_path) == CaptureLag(0, 0, None)
    for name, size, written in (
        ("a.segment", 100, 1000),
        ("b.open", 20, 3000),
        ("c.held", 3, 2000),
        ("drain.json", 7, 10),
    ):
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (written, written))
    assert capture_lag(tmp_path) == CaptureLag(3, 123, datetime.fromtimestamp(1000, UTC))
