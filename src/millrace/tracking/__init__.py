"""Experiments and runs."""

from __future__ import annotations
