"""Quartz cron: six or seven fields, seconds first, with time zones; no fire skipped or doubled when clocks change."""

from __future__ import annotations

from millrace.jobs.quartz.cron import QuartzCron
from millrace.jobs.quartz.parse import parse

__all__ = ["QuartzCron", "parse"]
