"""The pipeline file for each CI system: the same four stages, in its own words."""

from __future__ import annotations
