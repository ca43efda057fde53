"""When a job runs next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from millrace.core.clock import from_epoch_us
from millrace.jobs.job import Job
from millrace.jobs.schedules.ticks import cron_of, is_scheduled

_END = from_epoch_us(4_102_444_800_000_000)  # of what a schedule can name: 2100


def next_fires(job: Job, after: datetime, count: int) -> Sequence[datetime]:
    """The next ticks of the job's schedule, as many as there are; none without one, or while it is paused."""
    if job.schedule is None or not is_scheduled(job):
        return ()
    return tuple(islice(cron_of(job.schedule).between(after, _END), count))
