"""What a user writes about a job: named tasks that depend on each other, when it runs, and how often a task may fail.

Names are those of the Jobs API (`docs/jobs.md` has the table), so that its JSON and these objects say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

RunIf = Literal["ALL_SUCCESS", "ALL_DONE", "NONE_FAILED", "AT_LEAST_ONE_SUCCESS", "ALL_FAILED", "AT_LEAST_ONE_FAILED"]
PauseStatus = Literal["UNPAUSED", "PAUSED"]
CatchUp = Literal["last", "all", "skip"]
Operator = Literal["EQUAL_TO", "NOT_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN", "LESS_THAN_OR_EQUAL"]


@dataclass(frozen=True, slots=True)
class PipelineTask:
    """A run of a pipeline: what is not up to date, as `millrace run` does it.

    Attributes:
        pipeline: `FILE` or `FILE:NAME`, relative to the job's folder.
    """

    pipeline: str


@dataclass(frozen=True, slots=True)
class FeatureRefreshTask:
    """The feature and label tables of a pipeline, and what is online of them; `tables`: only these."""

    pipeline: str
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MonitorTask:
    """Late labels, verdicts, episodes and notifications of a pipeline."""

    pipeline: str


@dataclass(frozen=True, slots=True)
class RetrainTask:
    """A retraining where the pipeline's policy says that it is due; `force`: in any case."""

    pipeline: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class AlertTask:
    """Evaluate alert rules of the workspace by name; none named: all that are over metrics or SQL."""

    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotebookTask:
    """A notebook (`.ipynb`, or `.py` in source format), with values for its widgets. What it exits with is the task's output."""

    notebook_path: str
    base_parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SparkPythonTask:
    """A Python file, run as a program with these arguments."""

    python_file: str
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SqlTask:
    """One SELECT over tables of the lake, as text or in a file; `:name` in it is the parameter of that name."""

    query: str | None = None
    file: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConditionTask:
    """A comparison: its outcome, `true` or `false`, decides which of those after it run. Numbers compare as numbers where both are."""

    op: Operator
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class RunJobTask:
    """Another job, waited for."""

    job_name: str
    job_parameters: Mapping[str, str] = field(default_factory=dict)


Work = (
    PipelineTask
    | FeatureRefreshTask
    | MonitorTask
    | RetrainTask
    | AlertTask
    | NotebookTask
    | SparkPythonTask
    | SqlTask
    | ConditionTask
    | RunJobTask
)


@dataclass(frozen=True, slots=True)
class TaskDependency:
    """A task that comes before; `outcome`: only where that is a condition with this outcome."""

    task_key: str
    outcome: Literal["true", "false"] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One step of a job. In its texts, `{{job.parameters.NAME}}`, `{{tasks.KEY.values.NAME}}` and the like are filled in when it starts.

    Attributes:
        task_key: unique in the job: letters, digits, `-` and `_`.
        work: what it does.
        depends_on: what comes before it; a text is a task's key.
        run_if: whether it runs by how those before it ended.
        max_retries: how often it is tried again; -1: without end.
        min_retry_interval_millis: wait before the first retry; doubled before each further one, up to an hour.
        retry_on_timeout: whether a time-out is tried again, too.
        timeout_seconds: of one attempt; 0: none.
    """

    task_key: str
    work: Work
    depends_on: Sequence[str | TaskDependency] = ()
    run_if: RunIf = "ALL_SUCCESS"
    max_retries: int = 0
    min_retry_interval_millis: int = 1_000
    retry_on_timeout: bool = False
    timeout_seconds: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """Runs at the ticks of a Quartz cron expression.

    Attributes:
        quartz_cron_expression: six or seven fields, seconds first, as `0 0 6 * * ?`.
        timezone_id: an IANA zone.
        catch_up: of ticks that passed while nothing ran: run the `last`, `all`, or `skip` them.
    """

    quartz_cron_expression: str
    timezone_id: str = "UTC"
    pause_status: PauseStatus = "UNPAUSED"
    catch_up: CatchUp = "last"


@dataclass(frozen=True, slots=True)
class TableUpdateTrigger:
    """Runs when tables have a new version: `any` of them, or `all`."""

    table_names: tuple[str, ...]
    condition: Literal["ANY_UPDATED", "ALL_UPDATED"] = "ANY_UPDATED"


@dataclass(frozen=True, slots=True)
class ModelTrigger:
    """Runs when a model has a new version, or one of these aliases is put on a version."""

    securable_name: str
    condition: Literal["MODEL_VERSION_READY", "MODEL_ALIAS_SET"] = "MODEL_VERSION_READY"
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertTrigger:
    """Runs when an episode of one of these alert rules opens; `kinds`: only of these kinds of trouble."""

    rules: tuple[str, ...]
    kinds: tuple[str, ...] = ()


Trigger = TableUpdateTrigger | ModelTrigger | AlertTrigger


@dataclass(frozen=True, slots=True)
class Job:
    """Named tasks, and when they run.

    Attributes:
        name: unique in the home.
        tasks: in any order.
        schedule, trigger: when it runs by itself; neither: when somebody asks.
        pause_status: of the trigger; a schedule has its own.
        parameters: name to default.
        max_concurrent_runs: of this job; more wait where `queue`, else they are `SKIPPED`.
        timeout_seconds: of a run; 0: none.
        folder: what paths of tasks are relative to, absolute; empty: the folder of the file that declares the job.
    """

    name: str
    tasks: Sequence[Task]
    schedule: CronSchedule | None = None
    trigger: Trigger | None = None
    pause_status: PauseStatus = "UNPAUSED"
    parameters: Mapping[str, str] = field(default_factory=dict)
    max_concurrent_runs: int = 1
    queue: bool = True
    timeout_seconds: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    folder: str = ""
