"""The feature-engineering client: feature tables, training sets, models that carry their lookups, batch scoring, publishing, endpoints."""

from __future__ import annotations

import sys

from millrace.feature_engineering.endpoint_methods import EndpointMethods
from millrace.feature_engineering.function_methods import FunctionMethods
from millrace.feature_engineering.online_methods import OnlineMethods
from millrace.feature_engineering.table_methods import TableMethods
from millrace.feature_engineering.training_methods import TrainingMethods
from millrace.workspace import Workspace, open_workspace


class FeatureEngineeringClient(TableMethods, FunctionMethods, TrainingMethods, OnlineMethods, EndpointMethods):
    """Feature engineering over a home, with keyword arguments that people know.

    Args:
        model_registry_uri: accepted for code written elsewhere; the registry is the home's.
        workspace: the home, opened; None opens the default one. Times (`as of now`) are its Clock's.
    """

    def __init__(self, *, model_registry_uri: str | None = None, workspace: Workspace | None = None) -> None:
        self.model_registry_uri = model_registry_uri
        self._workspace = workspace or open_workspace()
        _point_mlflow_at(self._workspace)


def _point_mlflow_at(workspace: Workspace) -> None:
    """Let `mlflow.start_run()` beside this client write into the same home, unless the user has said where."""
    import os

    mlflow = sys.modules.get("mlflow")  # imported before or not: it reads the environment when it is first used
    if "MLFLOW_TRACKING_URI" not in os.environ and not (mlflow and mlflow.is_tracking_uri_set()):
        os.environ["MLFLOW_TRACKING_URI"] = os.environ["MLFLOW_REGISTRY_URI"] = workspace.settings.mlflow_url
