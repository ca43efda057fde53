from __future__ import annotations

from pathlib import Path

import pytest

from millrace.core.errors import InvalidInput, NotFound
from millrace.jobs.job_run import RunId, TaskContext
from millrace.tasks.given import Given, page_of


def given(folder: Path) -> Given:
    return Given(
        TaskContext(
            home=str(folder / ".millrace"),
            folder=str(folder),
            artifacts=str(folder),
            job="nightly",
            run_id=RunId(1),
            task_run_id=RunId(2),
            task_key="all",
            attempt=0,
            trigger="ONE_TIME",
            due=None,
            parameters={},
        )
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pipeline.py", ("pipeline.py", None)),
        ("pipeline.py:churn", ("pipeline.py", "churn")),
        ("/a:b/pipeline.py", ("/a:b/pipeline.py", None)),
        ("/a:b/pipeline.py:churn", ("/a:b/pipeline.py", "churn")),
        ("pipeline.py:", ("pipeline.py", None)),
    ],
)
def test_a_pipeline_is_named_by_its_file_and_where_there_are_several_by_its_name(
    text: str, expected: tuple[str, str | None]
) -> None:
    assert page_of(text) == expected


def test_a_pipelines_file_that_moved_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"the pipeline's file .*gone.py is not there any more") as caught:
        given(tmp_path).pipeline("gone.py:churn")
    assert "millrace job apply" in caught.value.hint


def test_a_pipelines_file_that_broke_says_where(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\nx.y\n")
    with pytest.raises(InvalidInput, match=r"the pipeline can't be read: .*broken.py, line 2: AttributeError"):
        given(tmp_path).pipeline("broken.py")
