"""The composition root: settings to adapters to one frozen Workspace."""

from __future__ import annotations

from millrace.workspace.session import spark
from millrace.workspace.target import open_target
from millrace.workspace.workspace import Workspace, open_workspace, require_home

__all__ = ["Workspace", "open_target", "open_workspace", "require_home", "spark"]
