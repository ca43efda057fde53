from __future__ import annotations

import time
from typing import Any, cast

import pytest

from millrace.automl import log
from millrace.tracking.port import Tracking
from millrace.tracking.types import RunId


class Nowhere:
    """A tracking store that keeps nothing."""

    def start(self, *_: object, **__: object) -> RunId:
        return RunId("1")


def test_one_wait_for_the_disk_does_not_keep_time_back_for_all_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([0.05, 0.5, 0.01, 0.01])
    monkeypatch.setattr(log, "rehearse", lambda _: time.sleep(next(waits)))
    written = log.RunLog(cast("Tracking", Nowhere()), "churn", "1", render=lambda _: None)
    before: Any = written.left_s
    written.flush()
    assert next(waits, None) is None
    assert written.left_s < 0.3 + 4 * 0.2 < before
