from __future__ import annotations

import sys

import pytest

from millrace.automl.lines import Lines, lines_where_somebody_looks
from millrace.automl.types import Preparation, Trial


def test_a_line_is_written_when_the_best_changes_or_a_trial_fails(capsys: pytest.CaptureFixture[str]) -> None:
    def trial(number: int, score: float, **more: str) -> Trial:
        return Trial(number, "linear", "x.Y", {}, Preparation(), score=score, **({"state": "done"} | more))  # type: ignore[arg-type]

    lines, first, second = Lines(), trial(0, 0.5), trial(1, 0.6)
    lines.ended(first, first, 9.0)
    lines.ended(second, first, 8.0)
    lines.ended(trial(2, float("nan"), state="failed", error="it broke"), first, 7.0)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "linear 0 done 0.50000; best 0.50000 by linear 0; 9 s left",
        "linear 2 failed: it broke; best 0.50000 by linear 0; 7 s left",
    ]


@pytest.mark.parametrize("errors", [None, object()], ids=["none", "no terminal"])
def test_nobody_looks_where_there_are_no_errors_to_be_seen(errors: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program without a console."""
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert lines_where_somebody_looks() is None
