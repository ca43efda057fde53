from __future__ import annotations

from pathlib import Path

import pytest

from millrace.core.errors import InvalidInput, NotFound
from millrace.jobs.task_values import GIVEN, VARIABLE, give, read_values, task_parameters, task_values


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    give(tmp_path, {"day": "2025-03-01"}, {"count": {"rows": 3, "names": ["a"], "none": None}})
    return tmp_path


def test_what_a_task_sets_is_kept_and_the_last_of_a_name_wins(folder: Path) -> None:
    task_values.set("rows", 1)
    task_values.set(key="model", value={"version": 2})
    task_values.set("rows", 2)
    assert read_values(folder) == {"rows": 2, "model": {"version": 2}}


def test_a_task_reads_what_those_before_it_set_and_the_parameters_of_the_run(folder: Path) -> None:
    assert folder.is_dir()
    assert task_values.get("count", "rows") == 3
    assert task_values.get(taskKey="count", key="names", debugValue=None) == ["a"]
    assert task_values.get("count", "none", default=1) is None
    assert task_parameters() == {"day": "2025-03-01"}


def test_a_value_that_is_not_there_has_its_default_or_names_the_nearest(folder: Path) -> None:
    assert folder.is_dir()
    assert task_values.get("count", "row", default=0, debugValue=7) == 0
    with pytest.raises(NotFound, match="the task 'count' set no value 'row'") as caught:
        task_values.get("count", "row")
    assert "rows" in caught.value.hint
    with pytest.raises(NotFound, match="no task 'cuont' before this one set a value") as caught:
        task_values.get("cuont", "rows")
    assert "count" in caught.value.hint


def test_outside_a_run_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    task_values.set("rows", 1)
    assert task_values.get("count", "rows", debugValue=7) == 7
    assert task_parameters() == {}
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotFound, match="there is no run here"):
        task_values.get("count", "rows", default=1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "is not JSON"),
        (float("nan"), "is not JSON"),
        ([{"n": 2**63}], "the whole number 9223372036854775808 has more than 64 bits"),
        ("\udcff", "is not JSON"),
        ("x" * (48 << 10), r"has 49,154 bytes, more than 49,152"),
    ],
)
def test_a_value_that_can_not_be_handed_on_is_refused(folder: Path, value: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        task_values.set("rows", value)
    assert caught.value.hint
    assert [each.name for each in folder.iterdir()] == [GIVEN]
