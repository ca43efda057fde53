"""Runs of a pipeline, their stages, and the lease that says who executes."""

from __future__ import annotations
