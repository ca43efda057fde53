from __future__ import annotations

import os
import stat
from pathlib import Path

from millrace.workspace import open_workspace


def test_a_new_home_is_its_owners_alone_and_an_old_one_stays_as_it_is(tmp_path: Path) -> None:
    """It holds customers' requests, and addresses of alerts with passwords in them."""
    before = os.umask(0o022)
    try:
        (tmp_path / "old").mkdir()
        for home in ("new", "old"):
            open_workspace(tmp_path / home).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o755
