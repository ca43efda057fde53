from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any, cast

import pytest

from millrace.api import renewal
from millrace.api.renewal import REST_S, Renewal

_MB = 1 << 20


class _Hot:
    def __init__(self) -> None:
        self.rested, self.at_once = REST_S + 1, True

    def rested_s(self) -> float:
        return self.rested

    def loads_at_once(self) -> bool:
        return self.at_once


def test_it_is_time_when_it_is_worth_it_and_nobody_would_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    hot, taken = _Hot(), [50 * _MB]
    monkeypatch.setattr(renewal, "_own_bytes", lambda: taken[0])
    due = Renewal(cast("Any", hot))
    due.begin()
    assert not due.is_due()
    taken[0] += 8 * _MB
    assert not due.is_due()
    taken[0] += 1
    assert due.is_due()
    hot.rested = REST_S - 1
    assert not due.is_due()
    hot.rested, hot.at_once = REST_S + 1, False
    assert not due.is_due()


def test_what_a_process_has_of_its_own_is_what_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    before = renewal._own_bytes()
    kept = bytearray(b"x") * (200 * _MB)
    assert 150 * _MB < renewal._own_bytes() - before < 260 * _MB
    assert len(kept) == 200 * _MB
    monkeypatch.setattr(renewal, "_STATE", tmp_path / "no such system")
    assert renewal._own_bytes() == 0


def test_it_begins_as_it_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr("os.execv", lambda program, arguments: called.append((program, arguments)))
    monkeypatch.setattr("sys.orig_argv", ["python", "-X", "dev", "-m", "millrace.api.worker", "{}"])
    renewal.begin_anew()
    ((program, arguments),) = called
    assert re.search("python", program)
    assert arguments == ["python", "-X", "dev", "-m", "millrace.api.worker", "{}"]
