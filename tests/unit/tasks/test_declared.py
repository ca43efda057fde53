from __future__ import annotations

import json
from pathlib import Path

import pytest

import millrace as mr
from millrace.core.errors import InvalidInput, NotFound
from millrace.jobs.documents import job_document
from millrace.tasks.declared import FILE, declared_jobs

JOB = mr.Job("nightly", [mr.Task("all", mr.PipelineTask("pipeline.py"))], schedule=mr.CronSchedule("0 0 6 * * ?"))
PAGE = """
import millrace as mr

first = mr.Job("first", [mr.Task("ask", mr.SqlTask("SELECT 1"))])
again = first
others = [mr.Job(f"of-{region}", [mr.Task("ask", mr.SqlTask("SELECT 1"))], folder="/elsewhere") for region in ("north", "south")]
churn = mr.Pipeline(
    name="churn",
    label=mr.Label("ml.labels.churn", column="churned", keys=("id",), time="at"),
    lookups=[mr.FeatureLookup("ml.features.churn", lookup_key="id", timestamp_lookup_key="at")],
    candidates=[mr.Linear()],
    gates=[],
    monitor=mr.Monitor(schedule="0 0 7 * * ?"),
)
"""


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_page_declares_its_jobs_those_in_lists_and_its_pipelines_schedules(tmp_path: Path) -> None:
    file = written(tmp_path, "page.py", PAGE)
    jobs = {job.name: job for job in declared_jobs(file)}
    assert list(jobs) == ["first", "of-north", "of-south", "churn-monitor"]
    assert {job.tags[FILE] for job in jobs.values()} == {str(file)}
    assert [job.folder for job in jobs.values()] == [str(tmp_path), "/elsewhere", "/elsewhere", str(tmp_path)]
    assert jobs["churn-monitor"].tasks[0].work == mr.MonitorTask("page.py:churn")


@pytest.mark.parametrize(
    "document",
    [
        job_document(JOB),
        [job_document(JOB)],
        {"jobs": [{"job_id": 7, "settings": job_document(JOB)}]},
    ],
)
def test_json_may_be_one_job_a_list_or_what_the_jobs_api_answers(tmp_path: Path, document: object) -> None:
    (job,) = declared_jobs(written(tmp_path, "jobs.json", json.dumps(document)))
    assert (job.name, job.schedule, job.folder) == ("nightly", JOB.schedule, str(tmp_path))
    assert job.tasks[0].work == mr.PipelineTask("pipeline.py")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.py", "x = 1", "declares no jobs"),
        ("broken.py", "import millrace as mr\nmr.Job()", r"broken.py, line 2: TypeError"),
        ("twice.py", "import millrace as mr\na = mr.Job('n', [])\nb = mr.Job('n', [])", "has two jobs 'n'"),
        ("broken.json", "{", "is no JSON"),
        ("number.json", "[1]", "the job is 1"),
        ("unknown.json", json.dumps({"name": "n", "taks": []}), "the job has a field 'taks' that there is not"),
    ],
)
def test_a_file_that_declares_nothing_right_says_what_is_wrong(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        declared_jobs(written(tmp_path, name, text))


def test_a_file_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        declared_jobs(tmp_path / "nothing.py")
