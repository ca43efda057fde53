"""Carrying a version from one target to the next: packed with its lineage, received once, served, then named."""

from __future__ import annotations
