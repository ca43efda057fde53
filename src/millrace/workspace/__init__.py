"""The composition root: settings to adapters to one frozen Workspace."""

from __future__ import annotations

from millrace.workspace.pipelines import remember_pipeline
from millrace.workspace.session import spark
from millrace.workspace.target import open_target, promotion_target
from millrace.workspace.workspace import Workspace, open_workspace, require_home

__all__ = [
    "Workspace",
    "open_target",
    "open_workspace",
    "promotion_target",
    "remember_pipeline",
    "require_home",
    "spark",
]
