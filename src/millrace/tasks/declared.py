"""Jobs as a file declares them: a Python file with `Job`s and `Pipeline`s, or JSON in the Jobs API's shape."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from millrace.core.errors import InvalidInput, NotFound
from millrace.jobs.documents import job_of
from millrace.jobs.job import Job

# The tag that says from which file a job was applied.
FILE = "declared_in"


def declared_jobs(file: Path) -> list[Job]:
    """The jobs of a file, each with the file's folder where it has none, and tagged with the file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it can't be read, or declares nothing that runs by itself or when asked.
    """
    path = file.expanduser().resolve()
    if not path.is_file():
        raise NotFound(f"there is no file {file}", hint="name a Python file with jobs or a pipeline, or a .json file")
    jobs = _of_json(path) if path.suffix == ".json" else _of_python(path)
    names = [job.name for job in jobs]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"{file} has two jobs '{name}'", hint="give each a name of its own")
    return [replace(job, folder=job.folder or str(path.parent), tags={**job.tags, FILE: str(path)}) for job in jobs]


def _of_python(path: Path) -> list[Job]:
    from millrace.pipeline.declare import Pipeline
    from millrace.pipeline.load import execute_file
    from millrace.pipeline.scheduled_jobs import scheduled_jobs

    values = vars(execute_file(path)).values()
    jobs = list(_jobs_among(values))
    pipelines = [value for value in values if isinstance(value, Pipeline)]
    if not jobs and not pipelines:
        raise InvalidInput(
            f"{path} declares no jobs",
            hint="assign millrace.Job(...) or millrace.Pipeline(...) to a name at the top level",
        )
    return jobs + [job for pipeline in pipelines for job in scheduled_jobs(pipeline, path.name, str(path.parent))]


def _jobs_among(values: Any) -> Iterator[Job]:
    """Jobs, and those in lists; one that has two names is one."""
    seen: list[Job] = []
    for value in values:
        for job in value if isinstance(value, list | tuple) else [value]:
            if isinstance(job, Job) and not any(job is other for other in seen):
                seen.append(job)
                yield job


def _of_json(path: Path) -> list[Job]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is no JSON: {error}", hint="write one job, or a list of jobs") from error
    return [job_of(_settings(each)) for each in _documents(read)]


def _documents(read: object) -> Sequence[Any]:
    if isinstance(read, list):
        return read
    if isinstance(read, Mapping) and isinstance(read.get("jobs"), list):
        return list(read["jobs"])
    return [read]


def _settings(document: Any) -> Any:
    """The job's settings, where they are inside of what the Jobs API answers."""
    inside = isinstance(document, Mapping) and "tasks" not in document and isinstance(document.get("settings"), Mapping)
    return document["settings"] if inside else document
