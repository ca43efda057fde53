"""Executing runs: one holder of the home's lease, each attempt of a task in a process of its own."""

from __future__ import annotations
