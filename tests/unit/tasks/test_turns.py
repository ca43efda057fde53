from __future__ import annotations

import pytest

from millrace.core.errors import Conflict
from millrace.pipeline.execute import RunReport
from millrace.tasks import pipeline

DONE = RunReport("done", ())


def test_a_task_waits_for_its_turn_at_the_pipeline_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "_LOOK_S", 0.0)
    left = [Conflict("pipeline/churn is being run by another process (a:1)", lease="pipeline/churn")] * 3

    def run() -> RunReport:
        if left:
            raise left.pop()
        return DONE

    assert pipeline._in_turn(run) is DONE
    assert capsys.readouterr().err == "waits: pipeline/churn is being run by another process (a:1)\n"


def test_another_conflict_is_no_reason_to_wait() -> None:
    def run() -> RunReport:
        raise Conflict("the table was changed meanwhile")

    with pytest.raises(Conflict, match="meanwhile"):
        pipeline._in_turn(run)
