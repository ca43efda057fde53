"""The churn job: from what arrives in the lake to the alert on drift, a notebook for each step, every morning at six."""

from __future__ import annotations

from millrace.jobs.job import ConditionTask, CronSchedule, Job, NotebookTask, Task, TaskDependency

TODAY = {"today": "{{job.parameters.today}}"}


def notebook(name: str, *after: str | TaskDependency, retries: int = 0) -> Task:
    """A task that is a notebook of that name."""
    return Task(name, NotebookTask(f"notebooks/{name}.py"), depends_on=after, max_retries=retries, timeout_seconds=1800)


churn = Job(
    name="churn",
    description="Features, labels, training, gates, staging, production, scores, monitor, alert",
    parameters={"today": ""},  # empty: a week after what has arrived last
    schedule=CronSchedule("0 0 6 * * ?", timezone_id="UTC"),
    tasks=[
        Task("land", NotebookTask("notebooks/land.py", TODAY), timeout_seconds=600),
        notebook("features", "land", retries=1),
        notebook("labels", "features"),
        notebook("train", "labels"),
        notebook("validate", "train"),
        # A refused model is no failure: what is in production goes on, and is watched.
        Task("passed", ConditionTask("EQUAL_TO", "{{tasks.validate.values.passed}}", "true"), depends_on=["validate"]),
        notebook("staging", TaskDependency("passed", "true")),
        notebook("production", "staging"),
        Task("score", NotebookTask("notebooks/score.py"), depends_on=["validate", "production"], run_if="NONE_FAILED"),
        notebook("monitor", "score"),
        notebook("alert", "monitor"),
    ],
)
