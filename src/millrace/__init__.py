"""Millrace: the whole MLOps loop in one Python package.

What a pipeline's page is made of (`docs/pipelines.md` explains each):

- window features: `Windows` of `Sum`, `Mean`, `Count`, `CountDistinct`, `Min`, `Max`, `Stddev`, `Last`; `window_table`
- data: `Source`, `feature_table`, `label_table`, `Label`, `FeatureLookup`, `Split`
- functions as features: `feature_function` registers one, `FeatureFunction` uses it
- candidates: `XGBoost`, `LightGBM`, `Linear`, `Dummy`, `Custom`, `AutoML`
- gates: `AtLeast`, `AtMost`, `BeatsBaselines`, `BeatsChampion`, `NoWorseThanChampion`, `WorstSlice`, `Calibrated`, `NoLeakage`, `NoServingSkew`, `FastEnough`
- the rest of the loop: `Deployment`, `Rollout` with `CanaryLimits`, `Monitor` with `Metric`s, `Alert` with `MetricAlert`s, `Retrain`, and `Pipeline` around it all
- jobs: `Job` of `Task`s, each a `PipelineTask`, `FeatureRefreshTask`, `MonitorTask`, `RetrainTask`, `AlertTask`, `NotebookTask`,
  `SparkPythonTask`, `SqlTask`, `ConditionTask` or `RunJobTask`; `CronSchedule`, `TableUpdateTrigger`, `ModelTrigger`, `AlertTrigger`
  say when; `task_values` and `task_parameters` are for the programs that tasks run (`docs/jobs.md`)

For notebooks and tests: `open_workspace` opens a home, `spark` is a PySpark session over its tables, `preview` tries a
feature or label function at one time. The client with the steps one by one is
`millrace.feature_engineering.FeatureEngineeringClient`.

Names are imported when they are first used, so that `import millrace` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.automl.candidate import AutoML
    from millrace.features.functions.store import feature_function
    from millrace.features.types import FeatureFunction, FeatureLookup
    from millrace.features.windows import Count, CountDistinct, Last, Max, Mean, Min, Stddev, Sum
    from millrace.jobs.job import (
        AlertTask,
        AlertTrigger,
        ConditionTask,
        CronSchedule,
        FeatureRefreshTask,
        Job,
        ModelTrigger,
        MonitorTask,
        NotebookTask,
        PipelineTask,
        RetrainTask,
        RunJobTask,
        SparkPythonTask,
        SqlTask,
        TableUpdateTrigger,
        Task,
        TaskDependency,
    )
    from millrace.jobs.task_values import task_parameters, task_values
    from millrace.monitoring.types import Metric
    from millrace.pipeline.declare import (
        Alert,
        Deployment,
        Label,
        MetricAlert,
        Monitor,
        Pipeline,
        Retrain,
        Rollout,
        Source,
        Split,
        Windows,
        feature_table,
        label_table,
        window_table,
    )
    from millrace.pipeline.snapshots import preview
    from millrace.serving.canary.types import CanaryLimits
    from millrace.training.candidates import Custom, Dummy, LightGBM, Linear, XGBoost
    from millrace.validation.calibrated import Calibrated
    from millrace.validation.comparisons import BeatsBaselines, BeatsChampion, NoWorseThanChampion
    from millrace.validation.no_leakage import NoLeakage
    from millrace.validation.served import FastEnough, NoServingSkew
    from millrace.validation.thresholds import AtLeast, AtMost
    from millrace.validation.worst_slice import WorstSlice
    from millrace.workspace import Workspace, open_workspace, spark

__version__ = "0.1.0"

# MLflow and ONNX Runtime report their use to their makers unless told not to before they are imported, and any module of ours may be the first
# to do that. Who wants it says so in the environment.
for _name, _value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("ORT_DISABLE_TELEMETRY", "1")):
    os.environ.setdefault(_name, _value)

_FROM = {
    "millrace.automl.candidate": ("AutoML",),
    "millrace.features.functions.store": ("feature_function",),
    "millrace.features.types": ("FeatureFunction", "FeatureLookup"),
    "millrace.features.windows": ("Count", "CountDistinct", "Last", "Max", "Mean", "Min", "Stddev", "Sum"),
    "millrace.jobs.job": (
        "AlertTask",
        "AlertTrigger",
        "ConditionTask",
        "CronSchedule",
        "FeatureRefreshTask",
        "Job",
        "ModelTrigger",
        "MonitorTask",
        "NotebookTask",
        "PipelineTask",
        "RetrainTask",
        "RunJobTask",
        "SparkPythonTask",
        "SqlTask",
        "TableUpdateTrigger",
        "Task",
        "TaskDependency",
    ),
    "millrace.jobs.task_values": ("task_parameters", "task_values"),
    "millrace.monitoring.types": ("Metric",),
    "millrace.pipeline.declare": (
        "Alert",
        "Deployment",
        "Label",
        "MetricAlert",
        "Monitor",
        "Pipeline",
        "Retrain",
        "Rollout",
        "Source",
        "Split",
        "Windows",
        "feature_table",
        "label_table",
        "window_table",
    ),
    "millrace.pipeline.snapshots": ("preview",),
    "millrace.serving.canary.types": ("CanaryLimits",),
    "millrace.training.candidates": ("Custom", "Dummy", "LightGBM", "Linear", "XGBoost"),
    "millrace.validation.calibrated": ("Calibrated",),
    "millrace.validation.comparisons": ("BeatsBaselines", "BeatsChampion", "NoWorseThanChampion"),
    "millrace.validation.no_leakage": ("NoLeakage",),
    "millrace.validation.served": ("FastEnough", "NoServingSkew"),
    "millrace.validation.thresholds": ("AtLeast", "AtMost"),
    "millrace.validation.worst_slice": ("WorstSlice",),
    "millrace.workspace": ("Workspace", "open_workspace", "spark"),
}
_HOME_OF = {name: module for module, names in _FROM.items() for name in names}

__all__ = [
    "Alert",
    "AlertTask",
    "AlertTrigger",
    "AtLeast",
    "AtMost",
    "AutoML",
    "BeatsBaselines",
    "BeatsChampion",
    "Calibrated",
    "CanaryLimits",
    "ConditionTask",
    "Count",
    "CountDistinct",
    "CronSchedule",
    "Custom",
    "Deployment",
    "Dummy",
    "FastEnough",
    "FeatureFunction",
    "FeatureLookup",
    "FeatureRefreshTask",
    "Job",
    "Label",
    "Last",
    "LightGBM",
    "Linear",
    "Max",
    "Mean",
    "Metric",
    "MetricAlert",
    "Min",
    "ModelTrigger",
    "Monitor",
    "MonitorTask",
    "NoLeakage",
    "NoServingSkew",
    "NoWorseThanChampion",
    "NotebookTask",
    "Pipeline",
    "PipelineTask",
    "Retrain",
    "RetrainTask",
    "Rollout",
    "RunJobTask",
    "Source",
    "SparkPythonTask",
    "Split",
    "SqlTask",
    "Stddev",
    "Sum",
    "TableUpdateTrigger",
    "Task",
    "TaskDependency",
    "Windows",
    "Workspace",
    "WorstSlice",
    "XGBoost",
    "__version__",
    "feature_function",
    "feature_table",
    "label_table",
    "open_workspace",
    "preview",
    "spark",
    "task_parameters",
    "task_values",
    "window_table",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'millrace' has no attribute '{name}'")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
