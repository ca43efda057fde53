"""`millrace job`: what runs by itself or when asked, and how it went."""

from __future__ import annotations

from cyclopts import App

app = App(name="job", help="Jobs: tasks that depend on each other, on a schedule, a trigger, or when asked.")
_SHOW = "millrace.cli.job_show"
app.command("millrace.cli.job_apply:apply", name="apply", help="Put the jobs and schedules of a file into force.")
app.command(f"{_SHOW}:list_", name="list", help="List the jobs, when each runs next, and how its last run went.")
app.command(f"{_SHOW}:show", name="show", help="Show a job, or a run by its number: the graph of its tasks.")
app.command(f"{_SHOW}:runs", name="runs", help="List runs, newest first.")
app.command("millrace.cli.job_run:run", name="run", help="Run a job now, and wait for it.")
app.command(
    "millrace.cli.job_run:repair", name="repair", help="Run again what failed in a run, and what depends on it."
)
app.command("millrace.cli.job_run:wait", name="wait", help="Wait for a run that was asked for before.")
_CHANGE = "millrace.cli.job_change"
app.command(f"{_CHANGE}:cancel", name="cancel", help="Cancel a run, or all runs of a job.")
app.command("millrace.cli.job_logs:logs", name="logs", help="Print what a task of a run wrote.")
app.command(f"{_CHANGE}:pause", name="pause", help="Let a job's schedule and trigger rest.")
app.command(f"{_CHANGE}:resume", name="resume", help="Let a paused job run by itself again.")
app.command(f"{_CHANGE}:delete", name="delete", help="Delete a job; the history of its runs stays.")
