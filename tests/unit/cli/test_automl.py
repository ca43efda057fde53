from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.cli.automl import _suggested
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
