"""A pipeline declared as data, planned, explained, executed, retrained."""

from __future__ import annotations
