from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.automl.types import Preparation, Trial
from millrace.cli.automl import Lines, _suggested
from millrace.cli.main import main


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (pa.array([0, 1] * 20), "classify"),
        (pa.array(["a", "b"]), "classify"),
        (pa.array(range(100)), "regress"),
        (pa.array([place / 7 for place in range(100)]), "regress"),
        (pa.array([str(place) for place in range(100)]), "classify"),
    ],
)
def test_numbers_of_many_values_are_regressed(values: pa.Array, task: str) -> None:
    assert _suggested(pa.chunked_array([values])) == task


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "guess"], "--task is 'guess'"),
        (["--task", "classify", "--latency", "high"], "--latency is 'high'"),
        (["--task", "classify", "--register", "ml/models/churn"], "--register is 'ml/models/churn'"),
        (["--task", "classify", "--register", ""], "--register is ''"),
    ],
)
def test_an_option_that_is_none_is_a_usage_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["automl", "shop.customers", "churned", *arguments]) == 2
    assert message in capsys.readouterr().err


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
