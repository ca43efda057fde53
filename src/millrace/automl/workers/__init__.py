"""Processes that fit, and that are killed when time is up."""

from __future__ import annotations
