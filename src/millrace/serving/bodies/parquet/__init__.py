"""Parquet bodies, which a process of its own makes Arrow streams of."""

from __future__ import annotations
