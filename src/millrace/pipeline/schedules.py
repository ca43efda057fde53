"""When a part of a pipeline runs by itself."""

from __future__ import annotations

from millrace.core.errors import InvalidInput
from millrace.jobs.job import CronSchedule
from millrace.jobs.quartz import parse

Schedule = str | CronSchedule | None


def check_schedule(schedule: Schedule, whose: str) -> None:
    """Raise InvalidInput where it is no schedule, or one that never fires, with what is wrong about it."""
    if schedule is None:
        return
    if not isinstance(schedule, str | CronSchedule):
        raise InvalidInput(
            f"the schedule of {whose} is {schedule!r}", hint='give Quartz cron, as "0 0 6 * * ?", or a CronSchedule'
        )
    given = cron(schedule)
    try:
        parse(given.quartz_cron_expression, given.timezone_id)
    except InvalidInput as error:
        raise InvalidInput(f"the schedule of {whose}: {error.message}", hint=error.hint) from error


def cron(schedule: str | CronSchedule) -> CronSchedule:
    """The schedule, where it was given as cron alone: in UTC."""
    return CronSchedule(schedule) if isinstance(schedule, str) else schedule
