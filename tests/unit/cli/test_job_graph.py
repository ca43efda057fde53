from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import millrace as mr
from millrace.cli.job_graph import does, draw, seconds_between

ASK = mr.SqlTask("SELECT 1")


def task(key: str, *after: str | mr.TaskDependency, run_if: str = "ALL_SUCCESS") -> mr.Task:
    return mr.Task(key, ASK, depends_on=after, run_if=run_if)  # type: ignore[arg-type]


def test_a_graph_is_drawn_with_each_task_under_the_last_that_it_comes_after() -> None:
    tasks = [
        task("features"),
        task("train", "features"),
        task("big", "train"),
        task("publish", mr.TaskDependency("big", "true"), "features"),
        task("tell", "train", "publish", run_if="ALL_DONE"),
        task("apart"),
    ]
    lines = draw(tasks)
    assert [line.drawn for line in lines] == [
        "features",
        "└─ train",
        "   └─ big",
        "      └─ publish",
        "         └─ tell",
        "apart",
    ]
    assert [line.others for line in lines] == [
        "",
        "",
        "",
        "also after features; if big is true",
        "also after train; all done",
        "",
    ]


def test_branches_show_which_task_they_leave() -> None:
    drawn = [line.drawn for line in draw([task("a"), task("b", "a"), task("c", "b"), task("d", "a")])]
    assert drawn == ["a", "├─ b", "│  └─ c", "└─ d"]


@given(st.lists(st.sets(st.integers(0, 11), max_size=4), max_size=12))
def test_each_task_is_drawn_once_and_after_all_that_it_comes_after(edges: list[set[int]]) -> None:
    tasks = [task(f"t{n}", *(f"t{m}" for m in sorted(before) if m < n)) for n, before in enumerate(edges)]
    lines = draw(tasks)
    assert sorted(line.task.task_key for line in lines) == sorted(each.task_key for each in tasks)
    for at, line in enumerate(lines):
        depth = (len(line.drawn) - len(line.task.task_key)) // 3
        above = [each for each in lines[:at] if (len(each.drawn) - len(each.task.task_key)) // 3 == depth - 1]
        assert (above[-1].task.task_key in line.task.depends_on) if depth else not line.task.depends_on


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (mr.PipelineTask("pipeline.py"), "pipeline pipeline.py"),
        (mr.FeatureRefreshTask("p.py", ("ml.f.a",)), "features of p.py: ml.f.a"),
        (mr.MonitorTask("p.py"), "monitor of p.py"),
        (mr.RetrainTask("p.py", force=True), "retraining of p.py, in any case"),
        (mr.AlertTask(), "all alert rules"),
        (mr.NotebookTask("a.ipynb"), "notebook a.ipynb"),
        (mr.SparkPythonTask("a.py", ("--day", "1")), "python a.py --day 1"),
        (mr.SqlTask("SELECT\n  1"), "SQL SELECT 1"),
        (mr.ConditionTask("LESS_THAN", "1", "2"), "1 < 2?"),
        (mr.RunJobTask("other"), "job other"),
    ],
)
def test_what_a_task_does_is_a_few_words(work: object, said: str) -> None:
    assert does(work) == said  # type: ignore[arg-type]


def test_short_spans_are_in_seconds() -> None:
    began = datetime(2025, 3, 1, tzinfo=UTC)
    assert seconds_between(began, began + timedelta(seconds=2.34)) == "2.3 s"
    assert seconds_between(began, began + timedelta(seconds=3661)) == "1 h 1 min"
    assert seconds_between(None, began) == ""
