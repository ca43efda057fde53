"""Whether a home has something for a scheduler, read without SQLAlchemy from a workspace database that is a file."""

from __future__ import annotations

from millrace.database.reading import DatabaseReader

# As `schedules/work.py` has it, in the documents that `documents.py` writes.
_UNFINISHED = "SELECT 1 FROM job_runs WHERE state IN ('QUEUED', 'PENDING', 'RUNNING', 'TERMINATING') LIMIT 1"
_BY_ITSELF = """
    SELECT 1 FROM jobs
    WHERE json_extract(settings, '$.schedule.pause_status') = 'UNPAUSED'
       OR json_extract(settings, '$.trigger.pause_status') = 'UNPAUSED'
    LIMIT 1
"""


def has_work(database: DatabaseReader) -> bool:
    """Whether a run has not ended, or a job has a schedule or a trigger that is not paused."""
    return bool(database.rows(_UNFINISHED) or database.rows(_BY_ITSELF))
