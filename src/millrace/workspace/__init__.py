"""The composition root: settings to adapters to one frozen Workspace."""

from __future__ import annotations
